import lightgbm
import numpy as np

from icebox.pipeline.data.lightgbm_sequence import StoreSequence
from tests.features.store.test_streaming import made


def test_lightgbm_learns_the_same_from_the_store_as_from_the_array(tmp_path):
    store = made(tmp_path, range(400), shard_rows=50)
    labels = (np.arange(400) % 100 < 50).astype(int)
    options = {"objective": "binary", "verbose": -1, "num_threads": 1, "deterministic": True, "min_data_in_bin": 1}
    predictions = []
    for data in (StoreSequence(store), store.load().astype(np.float32)):
        dataset = lightgbm.Dataset(data, label=labels, params=options)
        model = lightgbm.train(options, dataset, num_boost_round=5)
        predictions.append(model.predict(store.load()))
    np.testing.assert_array_equal(predictions[0], predictions[1])
    assert predictions[0].std() > 0.1


def test_a_row_a_slice_and_a_list_have_the_shapes_that_lightgbm_asks_for(tmp_path):
    sequence = StoreSequence(made(tmp_path, [1, 2, 3]), split="train", outputs=["last"])
    assert sequence[1].tolist() == [2, 4]
    assert sequence[1:3].tolist() == [[2, 4], [3, 6]]
    assert sequence[[2, 0]].tolist() == [[3, 6], [1, 2]]
    assert len(sequence) == 3
    assert sequence.labels.tolist() == ["1", "1", "1"]
