import pytest

from icebox.features.weights import torchvision_models

MODELS = torchvision_models.library().models
NAMES = MODELS.list_models(module=MODELS)


@pytest.mark.parametrize("model", NAMES)
def test_every_classification_network_has_a_classifier_to_take_off(model):
    preprocess = torchvision_models.preprocess_of(torchvision_models.published_weights(model)["DEFAULT"])
    network = torchvision_models.build_empty(model, preprocess)
    before = set(network.state_dict())
    name = torchvision_models.remove_classifier(network)
    assert name.split(".")[0] in {"classifier", "fc", "head", "heads"}
    assert before - set(network.state_dict()) <= {f"{name}.weight", f"{name}.bias"}
    assert not any(layer.startswith(torchvision_models.AUXILIARY) for layer in before)


def test_published_keys_of_densenet_and_vit_get_todays_names():
    assert torchvision_models.rename_key("features.denseblock1.denselayer2.norm.1.weight").endswith(
        "denselayer2.norm1.weight"
    )
    assert torchvision_models.rename_key("encoder.layers.encoder_layer_0.mlp.linear_2.bias").endswith("_0.mlp.3.bias")
    assert torchvision_models.rename_key("features.norm0.weight") == "features.norm0.weight"


def test_a_vit_of_384_pixels_gets_its_own_position_embedding():
    published = torchvision_models.published_weights("vit_b_16")
    for name, patches in (("IMAGENET1K_V1", 14), ("IMAGENET1K_SWAG_E2E_V1", 24)):
        network = torchvision_models.build_empty("vit_b_16", torchvision_models.preprocess_of(published[name]))
        assert network.state_dict()["encoder.pos_embedding"].shape[1] == patches**2 + 1
