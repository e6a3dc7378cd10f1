"""A W&B backend on the loopback interface, for tests with the real client.

It understands what the client sends when it starts, logs, finishes and uploads a run and when `wandb.Api` reads runs
back. Everything received is kept for assertions. It proves what the client sends, not what the W&B site would draw.
"""

from fake_wandb.server import ENTITY, FakeWandb, Request

__all__ = ["ENTITY", "FakeWandb", "Request"]
