"""Read how a network's makers turn a text into one vector, from the files that sentence-transformers writes beside it.

modules.json                      the modules in their order, and the folder of each
sentence_bert_config.json         the most tokens of a text, and whether it is lowered
1_Pooling/config.json             how tokens are pooled
2_Dense/{config.json, weights}    layers behind the pooling; 3_Normalize has no files
config_sentence_transformers.json prompts, by name
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from icebox.features.errors import IceboxError, located, suggestion
from icebox.features.json_files import read_json
from icebox.features.nn.embeddings import ACTIVATIONS, SENTENCE_POOLINGS, Embedding, SentenceEmbedding
from icebox.features.weights import checkpoints

MODULES_FILE = "modules.json"
PROMPTS_FILE = "config_sentence_transformers.json"
LAYERS_FILE = "sentence.safetensors"  # of a backbone: the layers behind the pooling
INPUT_FILES = tuple(  # the first that is there is read: the name hangs on the network's kind
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
DENSE_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
FILES = (MODULES_FILE, PROMPTS_FILE, *INPUT_FILES, "*/config.json", *(f"*_*/{name}" for name in DENSE_WEIGHTS))
POOLING_FLAGS = {  # older files have a flag for each, in the order in which their vectors are laid side by side
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
Recipe = dict[str, Any]  # as `read` returns it


def network_folder(source: Path) -> Path:
    """The folder of the network itself: `source`, or the one in it that modules.json names."""
    if not (source / MODULES_FILE).is_file():
        return source
    first = next(iter(module_list(source)), None)
    return source if first is None or kind_of(first) != "Transformer" else module_folder(source, first)


def read(source: Path) -> tuple[Recipe, dict[str, Tensor]] | None:
    """The recipe of the folder's embedding as JSON, and the tensors of its layers behind the pooling.

    {"poolings": [mean], "include_prompt": true, "steps": [{"kind": normalize}, …], "max_tokens": 256 | None, "lower":
    false, "prompts": {…}, "default_prompt": name | None}. None where there is no modules.json. Modules of a kind that
    is not known are a recipe of one key, "unknown". Raises IceboxError for files that are damaged.
    """
    if not (source / MODULES_FILE).is_file():
        return None
    modules = module_list(source)
    kinds = [kind_of(module) for module in modules]
    known = {"Pooling", "Dense", "Normalize", "LayerNorm", "Dropout"}
    unknown = [kind for kind in kinds[1:] if kind not in known]
    if kinds[:1] != ["Transformer"] or kinds[1:2] != ["Pooling"] or unknown or "Pooling" in kinds[2:]:
        return {"unknown": " → ".join(kinds)}, {}
    folder = module_folder(source, modules[1])
    pooling = read_json(folder / "config.json", dict)
    recipe: Recipe = {
        "poolings": poolings_of(pooling, folder),
        "include_prompt": pooling.get("include_prompt", True),
        "steps": [],
    }
    tensors: dict[str, Tensor] = {}
    for kind, module in zip(kinds[2:], modules[2:], strict=True):
        if kind == "Dropout":  # does nothing once trained
            continue
        step = {"kind": "normalize"} if kind == "Normalize" else layer_of(kind, module_folder(source, module))
        recipe["steps"].append(step)
        if kind != "Normalize":
            layers = weights_of(module_folder(source, module))
            tensors |= {f"{len(recipe['steps']) - 1}.{name}": tensor for name, tensor in layers.items()}
    return recipe | inputs_of(source, module_folder(source, modules[0])) | prompts_of(source), tensors


def module_list(source: Path) -> list[dict[str, Any]]:
    """The entries of modules.json in their order."""
    modules: list[dict[str, Any]] = read_json(source / MODULES_FILE, [{"type": str, "path": str}])
    return sorted(modules, key=lambda module: module.get("idx", 0))


def kind_of(module: Mapping[str, Any]) -> str:
    """The class of a module, without the path of its package, which moves from version to version."""
    return str(module["type"]).rpartition(".")[2]


def module_folder(source: Path, module: Mapping[str, Any]) -> Path:
    """The folder of a module. Raises IceboxError for one outside of `source`."""
    path = PurePosixPath(module["path"])
    if path.is_absolute() or ".." in path.parts:
        raise IceboxError(f"{source / MODULES_FILE}: expected a folder beside it, found {module['path']!r}")
    return source / path


def poolings_of(config: Mapping[str, Any], folder: Path) -> list[str]:
    """The poolings whose vectors are laid side by side."""
    stated = config.get("pooling_mode")
    flagged = [pooling for flag, pooling in POOLING_FLAGS.items() if config.get(flag)]
    poolings = flagged or ["mean"] if stated is None else [stated] if isinstance(stated, str) else list(stated)
    for pooling in poolings:
        if pooling not in SENTENCE_POOLINGS:
            raise IceboxError(
                f"{folder / 'config.json'}: expected a pooling of {', '.join(SENTENCE_POOLINGS)}, found {pooling!r}"
            )
    return poolings


def layer_of(kind: str, folder: Path) -> dict[str, Any]:
    """A step of the recipe that has weights. Raises IceboxError for a layer that does more than is known here."""
    config = read_json(folder / "config.json", dict)
    if kind == "LayerNorm":
        return {"kind": "layer_norm"}
    activation = str(config.get("activation_function") or "torch.nn.modules.linear.Identity").rpartition(".")[2]
    odd = [key for key in ("module_input_name", "module_output_name") if config.get(key) not in (None, INPUT)]
    if config.get("use_residual"):
        odd.append("use_residual")
    if activation not in ACTIVATIONS or odd:
        found = ", ".join(odd) or f"activation_function {activation}"
        raise IceboxError(
            f"{folder / 'config.json'}: expected a dense layer with {', '.join(ACTIVATIONS)} and nothing more, "
            f"found {found}"
        )
    return {"kind": "dense", "activation": activation}


INPUT = "sentence_embedding"  # what a dense layer reads and writes


def weights_of(folder: Path) -> dict[str, Tensor]:
    """The tensors of a layer behind the pooling."""
    for name in DENSE_WEIGHTS:
        if (folder / name).is_file():
            return checkpoints.read_tensors(folder / name)
    raise IceboxError(f"{folder}: expected {' or '.join(DENSE_WEIGHTS)}, found neither")


def inputs_of(source: Path, folder: Path) -> Recipe:
    """The most tokens of a text, and whether it is lowered."""
    for path in (*(folder / name for name in INPUT_FILES), *(source / name for name in INPUT_FILES)):
        if path.is_file():
            config = read_json(path, dict)
            return {"max_tokens": config.get("max_seq_length"), "lower": bool(config.get("do_lower_case"))}
    return {"max_tokens": None, "lower": False}


def prompts_of(source: Path) -> Recipe:
    """The prompts by name, and the name of the one that is taken where none is asked for."""
    config = read_json(source / PROMPTS_FILE, dict) if (source / PROMPTS_FILE).is_file() else {}
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    with located(str(source / PROMPTS_FILE)):
        if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
            raise IceboxError(f"prompts: expected texts by name, found {prompts!r}")
        if default is not None and default not in prompts:
            raise IceboxError(f"default_prompt_name: expected one of {', '.join(prompts) or 'none'}, found {default!r}")
    return {"prompts": {name: text or "" for name, text in prompts.items()}, "default_prompt": default}


def embedding(folder: Path, recipe: Mapping[str, Any], *, wanted: bool) -> Embedding | None:
    """The embedding of a recipe, whose layers behind the pooling lie in a backbone's `folder`; None for modules that
    are not known. Raises IceboxError for these where it is `wanted`."""
    if "unknown" in recipe:
        if wanted:
            raise IceboxError(
                f"{folder.name}: its modules.json has {recipe['unknown']}; known are Transformer → Pooling, and then "
                f"Dense, Normalize, LayerNorm and Dropout; set outputs, such as ['last:mean']"
            )
        return None
    layers = checkpoints.read_tensors(folder / LAYERS_FILE) if (folder / LAYERS_FILE).is_file() else {}
    return SentenceEmbedding(recipe["poolings"], recipe["steps"], layers)


def resolve_prompt(prompt: str | None, recipe: Mapping[str, Any] | None, *, default: bool) -> str:
    """The text before each text: that of the prompt's name, or the prompt itself; of None the folder's default one.

    Raises IceboxError for one word that is no name, where there are names.
    """
    prompts: Mapping[str, str] = (recipe or {}).get("prompts", {})
    if prompt is None:
        return prompts.get((recipe or {}).get("default_prompt") or "", "") if default else ""
    if prompts and prompt not in prompts and prompt.isidentifier():
        raise IceboxError(
            f"prompt: no prompt named '{prompt}'; {suggestion(prompt, list(prompts))}; or a text, such as '{prompt}: '"
        )
    return prompts.get(prompt, prompt)


def in_words(recipe: Mapping[str, Any]) -> str:
    """`cls, dense (Tanh), normalized`: what becomes of the tokens."""
    steps = {"normalize": "normalized", "layer_norm": "layer norm"}
    poolings = [" and ".join(recipe["poolings"]) + (" side by side" if len(recipe["poolings"]) > 1 else "")]
    return ", ".join(
        poolings + [steps.get(step["kind"]) or f"dense ({step['activation']})" for step in recipe["steps"]]
    )


def is_plain_mean(recipe: Mapping[str, Any]) -> bool:
    """Whether the embedding has the direction of the tokens' mean, and no prompt that is always taken."""
    return (
        recipe.get("poolings") == ["mean"]
        and all(step["kind"] == "normalize" for step in recipe["steps"])
        and not recipe["lower"]
        and not recipe["prompts"].get(recipe["default_prompt"])
    )
