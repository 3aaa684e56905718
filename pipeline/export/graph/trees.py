"""Trees of scikit-learn and LightGBM as one operator of ONNX, TreeEnsembleRegressor.

Features and thresholds are compared in float64, as these libraries do it: the converters of other packages round
thresholds to float32, and then a feature that lies on one goes the other way.

Letters: b batch, d features, m outputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

OPERATOR, DOMAIN = "TreeEnsembleRegressor", "ai.onnx.ml"
OPSET = 3  # of the domain
NUMBER = "icebox_trees"  # the attribute by which `attach` knows whose node it is
BRANCH, LEAF = "BRANCH_LEQ", "LEAF"

Node = tuple[int, float, int, int]  # of a branch: feature, threshold (≤ goes left), left, right


@dataclass
class Forest:
    """Trees whose leaves add to m outputs: the attributes of the operator, built up tree by tree."""

    outputs: int
    base: np.ndarray
    trees: list[int] = field(default_factory=list)  # of each node its tree, …
    nodes: list[int] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    lefts: list[int] = field(default_factory=list)
    rights: list[int] = field(default_factory=list)
    leaf_trees: list[int] = field(default_factory=list)  # of each leaf's weight its tree, …
    leaf_nodes: list[int] = field(default_factory=list)
    leaf_outputs: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, branches: dict[int, Node], leaves: Mapping[int, Sequence[tuple[int, float]]]) -> None:
        """One tree by its nodes' numbers, 0 the root; of each leaf (output, weight)."""
        tree = self.trees[-1] + 1 if self.trees else 0
        for number in sorted([*branches, *leaves]):
            feature, threshold, left, right = branches.get(number, (0, 0.0, 0, 0))
            self.trees.append(tree)
            self.nodes.append(number)
            self.features.append(feature)
            self.thresholds.append(threshold)
            self.modes.append(BRANCH if number in branches else LEAF)
            self.lefts.append(left)
            self.rights.append(right)
            for output, weight in leaves.get(number, ()):
                self.leaf_trees.append(tree)
                self.leaf_nodes.append(number)
                self.leaf_outputs.append(output)
                self.weights.append(weight)

    def attributes(self) -> dict[str, Any]:
        """The operator's attributes, as onnx takes them."""
        from onnx import numpy_helper

        def tensor(name: str, values: Any) -> Any:
            return numpy_helper.from_array(np.asarray(values, np.float64), name)

        missing = [0] * len(self.nodes)
        return {
            "n_targets": self.outputs,
            "base_values_as_tensor": tensor("base_values", self.base),
            "nodes_treeids": self.trees,
            "nodes_nodeids": self.nodes,
            "nodes_featureids": self.features,
            "nodes_modes": self.modes,
            "nodes_values_as_tensor": tensor("nodes_values", self.thresholds),
            "nodes_truenodeids": self.lefts,
            "nodes_falsenodeids": self.rights,
            "nodes_missing_value_tracks_true": missing,
            "target_treeids": self.leaf_trees,
            "target_nodeids": self.leaf_nodes,
            "target_ids": self.leaf_outputs,
            "target_weights_as_tensor": tensor("target_weights", self.weights),
        }


class Trees(nn.Module):
    """The sums (b, m) of a forest's leaves: the operator itself, which outside of an export ONNX Runtime computes."""

    def __init__(self, forest: Forest, *, divided_by: float = 1.0) -> None:
        super().__init__()
        self.forest, self.divided_by, self.number = forest, divided_by, -1  # `numbered` numbers those of a network

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, m) float64."""
        if not torch.compiler.is_exporting():
            return torch.from_numpy(self.by_runtime(x.double().numpy())).double() / self.divided_by
        sums: Tensor = torch.onnx.ops.symbolic(
            f"{DOMAIN}::{OPERATOR}",
            (x.double(),),
            {NUMBER: self.number},
            dtype=torch.float32,
            shape=(x.shape[0], self.forest.outputs),
            version=OPSET,
        )
        return sums.double() / self.divided_by

    def by_runtime(self, x: np.ndarray) -> np.ndarray:
        """float64 (b, d) → (b, m) float32, by a graph of this one operator."""
        import onnxruntime
        from onnx import TensorProto, helper

        node = helper.make_node(OPERATOR, ["x"], ["sums"], domain=DOMAIN, **self.forest.attributes())
        given = helper.make_tensor_value_info("x", TensorProto.DOUBLE, x.shape)
        sums = helper.make_tensor_value_info("sums", TensorProto.FLOAT, None)
        versions = [helper.make_opsetid(DOMAIN, OPSET), helper.make_opsetid("", 20)]
        graph = helper.make_graph([node], "trees", [given], [sums])
        model = helper.make_model(graph, opset_imports=versions, ir_version=10).SerializeToString()
        values: np.ndarray = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )[0]
        return values


class TwoShares(nn.Module):
    """The share of the second class (b, 1) as those of both."""

    def __init__(self, second: nn.Module) -> None:
        super().__init__()
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, 2)."""
        share = self.second(x)
        return torch.cat([1 - share, share], dim=1)


class SideBySide(nn.Module):
    """Columns that several modules give, or constants."""

    def __init__(self, columns: Sequence[nn.Module | float]) -> None:
        super().__init__()
        self.modules_ = nn.ModuleList([each for each in columns if isinstance(each, nn.Module)])
        self.constants = [None if isinstance(each, nn.Module) else each for each in columns]

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        found = iter(self.modules_)
        columns = [
            next(found)(x) if constant is None else torch.full_like(x[:, :1], constant, dtype=torch.float64)
            for constant in self.constants
        ]
        return torch.cat(columns, dim=1)


def numbered(network: nn.Module) -> dict[int, Forest]:
    """The forests in a network by the numbers that their nodes now bear."""
    found = [module for module in network.modules() if isinstance(module, Trees)]
    for number, module in enumerate(found):
        module.number = number
    return {module.number: module.forest for module in found}


def attach(model: Any, forests: dict[int, Forest]) -> None:
    """Give each node of the operator in an onnx model the attributes of its forest."""
    from onnx import helper

    for node in model.graph.node:
        if node.op_type != OPERATOR or node.domain != DOMAIN:
            continue
        number = next(attribute.i for attribute in node.attribute if attribute.name == NUMBER)
        del node.attribute[:]
        node.attribute.extend(
            helper.make_attribute(name, value) for name, value in forests[number].attributes().items()
        )


def of_sklearn_forest(model: Any) -> nn.Module:
    """A random forest: the mean of its trees' shares, or values."""
    outputs = model.n_classes_ if hasattr(model, "n_classes_") else 1
    forest = Forest(outputs, np.zeros(outputs))
    for estimator in model.estimators_:
        tree = estimator.tree_
        leaf = tree.children_left < 0
        branches = {
            int(i): (int(tree.feature[i]), float(tree.threshold[i]), int(tree.children_left[i]), int(right))
            for i, right in enumerate(tree.children_right)
            if not leaf[i]
        }
        values = tree.value[:, 0, :]
        if hasattr(model, "n_classes_"):
            values = values / values.sum(axis=1, keepdims=True)
        forest.add(
            branches,
            {int(i): [(k, float(v)) for k, v in enumerate(values[i]) if v] for i in np.flatnonzero(leaf)},
        )
    return Trees(forest, divided_by=float(len(model.estimators_)))


def of_hist_gb(model: Any) -> nn.Module:
    """scikit-learn's gradient-boosted trees: raw outputs, one a class; of two classes and of values one."""
    outputs = model.n_trees_per_iteration_
    forest = Forest(outputs, np.asarray(model._baseline_prediction, np.float64).reshape(-1))
    for trees_of_step in model._predictors:
        for output, predictor in enumerate(trees_of_step):
            nodes = predictor.nodes
            branches = {
                i: (int(n["feature_idx"]), float(n["num_threshold"]), int(n["left"]), int(n["right"]))
                for i, n in enumerate(nodes)
                if not n["is_leaf"]
            }
            leaves = {i: [(output, float(n["value"]))] for i, n in enumerate(nodes) if n["is_leaf"]}
            forest.add(branches, leaves)
    return Trees(forest)


def of_lightgbm(text: str, outputs: int) -> nn.Module:
    """LightGBM's trees, of its model as text: raw outputs, one a class; of two classes and of values one."""
    import lightgbm

    forest = Forest(outputs, np.zeros(outputs))
    for i, tree in enumerate(lightgbm.Booster(model_str=text).dump_model()["tree_info"]):
        branches: dict[int, Node] = {}
        leaves: dict[int, Sequence[tuple[int, float]]] = {}
        for number, node, left, right in walk(tree["tree_structure"]):
            if "split_feature" in node:
                branches[number] = (int(node["split_feature"]), float(node["threshold"]), left, right)
            else:
                leaves[number] = [(i % outputs, float(node["leaf_value"]))]
        forest.add(branches, leaves)
    return Trees(forest)


def walk(root: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any], int, int]]:
    """(number, node, number of its left, of its right) of all nodes of a tree, the root first."""
    numbers, queue = 1, [(0, root)]
    while queue:
        number, node = queue.pop()
        left, right = 0, 0
        if "split_feature" in node:
            left, right, numbers = numbers, numbers + 1, numbers + 2
            queue += [(left, node["left_child"]), (right, node["right_child"])]
        yield number, node, left, right
