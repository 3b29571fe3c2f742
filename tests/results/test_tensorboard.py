import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tf_lottery.results.report.tensorboard import write_tensorboard

CURVES = [
    {"replicate": 0, "round": 3, "variant": "ticket", "step": step, "val_loss": loss, "val_accuracy": None}
    for step, loss in ((50, 0.5), (100, 0.25))
]


@pytest.mark.parametrize("times", [1, 2])
def test_curves_are_scalars_and_replace_older_ones(tmp_path, times):
    for _ in range(times):
        folders = write_tensorboard(CURVES, tmp_path)
    assert [folder.name for folder in folders] == ["replicate_0_round_03_ticket"]
    events = EventAccumulator(str(folders[0])).Reload()
    assert events.Tags()["scalars"] == ["val_loss"]
    assert [(event.step, event.value) for event in events.Scalars("val_loss")] == [(50, 0.5), (100, 0.25)]
