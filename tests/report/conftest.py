from fake_wandb.fixtures import wandb_home, wandb_server

__all__ = ["wandb_home", "wandb_server"]
