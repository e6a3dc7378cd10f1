"""How much of a quantity a linear map can read out of features: ridge regression, cross-validated.

Letters: N images, D features, T targets, P penalties.
"""

import numpy as np
from jaxtyping import Float64, Int64

from capsbench.data.shuffle import shuffled

FOLD_STREAM = 14
# Penalties in units of the training images' number; features are scaled to variance 1 first.
PENALTIES = 10.0 ** np.arange(-6, 3)


def cross_validated_r2(
    features_ND: Float64[np.ndarray, "images features"],
    targets_NT: Float64[np.ndarray, "images targets"],
    groups: Int64[np.ndarray, "images"],
    *,
    folds: int,
    dimensions: int,
    seed: int,
) -> Float64[np.ndarray, "targets"]:
    """R2 of predictions for images that the probe was not fitted on, a probe for each group and fold.

    Each class capsule has dimensions of its own, so one map for all classes would be unfair to capsules; with groups,
    the spread that a probe has to explain is the one within a group. Groups too small for the folds are left out.

    Args:
        features_ND: what is read.
        targets_NT: what is to be read out of it.
        groups: class of each image.
        folds: parts of the cross-validation.
        dimensions: features longer than this are first reduced to it by PCA, fitted without the held-out images.
        seed: assigns images to folds.

    Returns:
        1 - residual / total sum of squares, pooled over groups, total about the fitted images' group means; 0 or less
        when the features say nothing, NaN for a target that does not vary or when no group is large enough.
    """
    residual, total = np.zeros(targets_NT.shape[1]), np.zeros(targets_NT.shape[1])
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if len(members) < 3 * folds:
            continue
        turn = np.empty(len(members), dtype=np.int64)
        turn[shuffled(len(members), seed, FOLD_STREAM)] = np.arange(len(members)) % folds
        for fold in range(folds):
            fitted, held_out = members[turn != fold], members[turn == fold]
            reduced, reduced_out = principal(features_ND[fitted], features_ND[held_out], dimensions)
            predicted = ridge(reduced, targets_NT[fitted], reduced_out)
            residual += np.square(targets_NT[held_out] - predicted).sum(axis=0)
            total += np.square(targets_NT[held_out] - targets_NT[fitted].mean(axis=0)).sum(axis=0)
    varies = total > 1e-12 * len(targets_NT)
    return np.where(varies, 1 - residual / np.where(varies, total, 1), np.nan)


def principal(
    fitted_ND: Float64[np.ndarray, "fitted features"],
    others_ND: Float64[np.ndarray, "others features"],
    dimensions: int,
) -> tuple[Float64[np.ndarray, "fitted kept"], Float64[np.ndarray, "others kept"]]:
    """Both sets in the first principal components of the first set; unchanged if they are no longer than that."""
    if fitted_ND.shape[1] <= dimensions:
        return fitted_ND, others_ND
    mean = fitted_ND.mean(axis=0)
    directions = np.linalg.svd(fitted_ND - mean, full_matrices=False)[2][:dimensions].T
    return (fitted_ND - mean) @ directions, (others_ND - mean) @ directions


def ridge(
    features_ND: Float64[np.ndarray, "images features"],
    targets_NT: Float64[np.ndarray, "images targets"],
    others_MD: Float64[np.ndarray, "others features"],
) -> Float64[np.ndarray, "others targets"]:
    """Predictions for other images by ridge regression with an intercept, in closed form.

    Every target has the penalty out of `PENALTIES` with the least leave-one-out error on the fitted images, which the
    diagonal of the hat matrix gives without fitting again (Hastie, Tibshirani and Friedman 2009, eq. 7.52).
    """
    count = len(features_ND)
    mean, target_mean = features_ND.mean(axis=0), targets_NT.mean(axis=0)
    deviation = features_ND.std(axis=0)
    scale = np.where(deviation > 1e-12, deviation, 1.0)
    left_NK, singular_K, right_KD = np.linalg.svd((features_ND - mean) / scale, full_matrices=False)
    centred_NT = targets_NT - target_mean
    projected_KT = left_NK.T @ centred_NT
    shrink_PK = singular_K**2 / (singular_K**2 + count * PENALTIES[:, None])
    fitted_PNT = np.einsum("NK,PK,KT->PNT", left_NK, shrink_PK, projected_KT)
    leverage_PN = np.einsum("NK,PK->PN", left_NK**2, shrink_PK) + 1 / count
    left_out_PNT = (centred_NT - fitted_PNT) / np.maximum(1 - leverage_PN, 1e-9)[:, :, None]
    best_T = np.square(left_out_PNT).sum(axis=1).argmin(axis=0)
    inverse_PK = singular_K / (singular_K**2 + count * PENALTIES[:, None])
    weights_DT = right_KD.T @ (inverse_PK[best_T].T * projected_KT)
    predicted: Float64[np.ndarray, "others targets"] = ((others_MD - mean) / scale) @ weights_DT + target_mean
    return predicted
