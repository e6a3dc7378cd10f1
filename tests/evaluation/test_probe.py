import numpy as np
import pytest

from capsbench.evaluation.probe import PENALTIES, cross_validated_r2, principal, ridge


def test_ridge_is_the_normal_equations_with_the_best_left_out_penalty():
    draw = np.random.default_rng(0)
    features = draw.normal(size=(40, 5)) * [1, 10, 0.1, 3, 1] + 4
    targets = features @ draw.normal(size=(5, 2)) + draw.normal(size=(40, 2)) * [0.1, 30]
    others = draw.normal(size=(7, 5)) + 4
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)

    def fitted(x, y, penalty, at):
        weights = np.linalg.solve(x.T @ x + 40 * penalty * np.eye(5), x.T @ (y - y.mean()))
        return at @ weights + y.mean()

    for target in range(2):
        y = targets[:, target]
        errors = []
        for penalty in PENALTIES:
            error = 0.0
            for left in range(40):
                kept = np.arange(40) != left
                # Centred on what is kept, so that the intercept is not penalised.
                centre = scaled[kept].mean(axis=0)
                error += (y[left] - fitted(scaled[kept] - centre, y[kept], penalty, scaled[left] - centre)) ** 2
            errors.append(error)
        best = PENALTIES[int(np.argmin(errors))]
        at = (others - features.mean(axis=0)) / features.std(axis=0)
        expected = fitted(scaled, y, best, at)
        assert ridge(features, targets, others)[:, target] == pytest.approx(expected, rel=1e-8)


def test_linear_targets_are_read_noise_is_not_and_groups_have_their_own_maps():
    draw = np.random.default_rng(1)
    groups = np.arange(600) % 3
    features = draw.normal(size=(600, 4))
    own = np.array([1.0, -1.0, 0.0])[groups] * features[:, 0] + 50 * groups
    noisy = features[:, 1] + draw.normal(size=600)
    targets = np.column_stack([own, noisy, draw.normal(size=600), np.full(600, 3.0)])
    r2 = cross_validated_r2(features, targets, groups, folds=5, dimensions=4, seed=0)
    assert r2[0] > 0.999
    assert r2[1] == pytest.approx(0.5, abs=0.08)
    assert abs(r2[2]) < 0.05
    assert np.isnan(r2[3])
    # One map for all groups cannot read the first target, whose sign differs by group.
    assert (
        cross_validated_r2(features, own[:, None] - 50 * groups[:, None], groups * 0, folds=5, dimensions=4, seed=0)
        < 0.1
    )


def test_principal_components_keep_the_widest_directions():
    draw = np.random.default_rng(2)
    narrow = draw.normal(size=(200, 6)) * [9, 0.1, 5, 0.1, 0.1, 0.1]
    turn = np.linalg.qr(draw.normal(size=(6, 6)))[0]
    kept, others = principal(narrow @ turn + 1, narrow[:5] @ turn + 1, 2)
    assert kept.shape == (200, 2)
    assert kept.var() * 2 == pytest.approx(narrow[:, [0, 2]].var(axis=0).sum(), rel=0.01)
    assert others == pytest.approx(kept[:5])
    same, _ = principal(narrow, narrow, 6)
    assert same is narrow


def test_too_few_images_give_no_number():
    assert np.isnan(cross_validated_r2(np.eye(4), np.eye(4), np.zeros(4, int), folds=5, dimensions=2, seed=0)).all()
