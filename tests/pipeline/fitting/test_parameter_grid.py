from icebox.pipeline.fitting import parameter_grid

GRID = {"C": [1, 2, 3], "kind": "x", "depth": [3, 4]}


def test_a_list_is_a_grid_and_the_rest_stays():
    assert parameter_grid.grid({"C": [1, 2], "kind": "x", "depth": [3, 4]}) == [
        {"C": 1, "kind": "x", "depth": 3},
        {"C": 1, "kind": "x", "depth": 4},
        {"C": 2, "kind": "x", "depth": 3},
        {"C": 2, "kind": "x", "depth": 4},
    ]


def test_random_ones_are_distinct_settings_of_the_grid_drawn_by_the_seed():
    drawn = [parameter_grid.settings(GRID, {"random": 4}, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    every = parameter_grid.grid(GRID)
    assert [every.index(setting) for setting in drawn[0]] == sorted({every.index(setting) for setting in drawn[0]})


def test_more_than_there_are_is_all_of_them():
    assert parameter_grid.settings(GRID, {"random": 7}, seed=0) == parameter_grid.grid(GRID)
