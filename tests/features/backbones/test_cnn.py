from icebox.features.backbones import cnn
from icebox.pipeline.training.pretrain_loop import pretrain
from tests import learnable


def test_it_learns_the_labels_and_judges_by_them(tmp_path):
    learner = cnn.pretraining(data=learnable.upright(), epochs=12, batch_size=10, d=16, width=4)
    assert pretrain(learner, tmp_path, family="cnn")["accuracy_test"] == 1
    judge = cnn.judge(tmp_path, device="cpu")
    test = learnable.upright()
    features, read = judge.features_and_labels(list(test.contents("test")))
    assert features.shape == (10, 16)
    assert read == test.labels("test")
