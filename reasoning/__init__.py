"""The method: fixed points, models, deep supervision and training (torch)."""

from reasoning.lazily import names_of

_HOMES = {
    "Attractor": "reasoning.attractor",
    "Adjoint": "reasoning.fixed_point",
    "Anderson": "reasoning.fixed_point",
    "Neumann": "reasoning.fixed_point",
    "OneStep": "reasoning.fixed_point",
    "Phantom": "reasoning.fixed_point",
    "Picard": "reasoning.fixed_point",
    "Reversible": "reasoning.fixed_point",
    "Unrolled": "reasoning.fixed_point",
    "jacobian_norm": "reasoning.fixed_point",
    "solve": "reasoning.fixed_point",
    "spectral_radius": "reasoning.fixed_point",
    "LossConfig": "reasoning.loss_config",
    "ModelConfig": "reasoning.model_config",
    "GridShape": "reasoning.nn.grid",
    "Reasoner": "reasoning.nn.reasoner",
    "ReasonerConfig": "reasoning.net_config",
    "Depth": "reasoning.supervision_config",
    "SegmentModel": "reasoning.supervision",
    "SegmentOutput": "reasoning.supervision",
    "Stage": "reasoning.supervision_config",
    "SupervisionConfig": "reasoning.supervision_config",
    "infer": "reasoning.supervision",
    "EMAConfig": "reasoning.training.config",
    "OptimizerConfig": "reasoning.training.config",
    "TrainingConfig": "reasoning.training.config",
    "World": "reasoning.training.distribution",
    "join_world": "reasoning.training.distribution",
    "predict": "reasoning.training.evaluation",
    "Trainer": "reasoning.training.loop",
}
__all__ = [*_HOMES]
__getattr__, __dir__ = names_of(__name__, _HOMES)
