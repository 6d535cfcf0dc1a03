"""How each family of torchvision's classifiers is cut and grouped: decisions, by hand.

``ml.generate_architectures`` works the rest out and writes ``ml/theory/architectures.json``.

Where fastai has a rule for the groups, it holds here: ResNets, DenseNets, VGGs with batch norm
(the first 22 layers, wherever that falls), AlexNet and SqueezeNets. VGGs without batch norm split
after the same convolution. All others split where the map reaches 1/16 of the photo's side, which
is where a ResNet splits, too. Vision transformers keep one scale throughout and split in half.

What the bodies end in:

* Most: a map of channels, as it enters the network's own pooling. A norm inside the classifier
  (ConvNeXt, MaxViT) goes with the classifier; the new head has its own.
* Swin: the norm of the last stage and the move of its channels to the front are kept.
* Vision transformers: the class token after the last norm, one vector for each photo, which the
  head takes without pooling.
"""

from dataclasses import dataclass

FEATURES = ("features",)
RESNET_BODY = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
SHUFFLENET_BODY = ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5")
SWIN_BODY = ("features", "norm", "permute")
GOOGLENET_BODY = (
    *("conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3"),
    *("inception4a", "inception4b", "inception4c", "inception4d", "inception4e", "maxpool4"),
    *("inception5a", "inception5b"),
)
INCEPTION_BODY = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1"),
    *("Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2", "Mixed_5b", "Mixed_5c", "Mixed_5d"),
    *("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRule:
    """What is decided for networks of one build; module names are torchvision's."""

    family: str
    names: tuple[str, ...]
    body: tuple[str, ...] = FEATURES
    """Top-level children (and weights) kept, in the order in which they work."""
    opened: tuple[str, ...] = ()
    """Modules that are not grouped whole: each of their children finds its own group."""
    second_group: str
    """The first module of the second layer group; the head is the third."""
    smallest_image_px: int = 32
    fixed_image_px: int | None = None
    """The only size that works, of networks whose weights depend on it."""
    vector_features: bool = False
    """The body gives one vector for each photo instead of a map."""
    signed_input: bool = False
    """The pretrained weights expect colours from -1 to 1."""


RULES = (
    FamilyRule(
        family="resnet",
        names=(
            *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
            *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
            *("wide_resnet50_2", "wide_resnet101_2"),
        ),
        body=RESNET_BODY,
        second_group="layer3",
    ),
    FamilyRule(
        family="alexnet",
        names=("alexnet",),
        opened=FEATURES,
        second_group="features.6",
        smallest_image_px=63,
    ),
    FamilyRule(
        family="convnext",
        names=("convnext_tiny", "convnext_small", "convnext_base", "convnext_large"),
        opened=FEATURES,
        second_group="features.4",
    ),
    FamilyRule(
        family="densenet",
        names=("densenet121", "densenet161", "densenet169", "densenet201"),
        opened=FEATURES,
        second_group="features.transition2",
    ),
    FamilyRule(
        family="efficientnet",
        names=tuple(f"efficientnet_b{number}" for number in range(8)),
        opened=FEATURES,
        second_group="features.4",
    ),
    FamilyRule(
        family="efficientnet_v2",
        names=("efficientnet_v2_s", "efficientnet_v2_m"),
        opened=FEATURES,
        second_group="features.4",
        smallest_image_px=33,
    ),
    FamilyRule(
        family="efficientnet_v2",
        names=("efficientnet_v2_l",),
        opened=FEATURES,
        second_group="features.4",
        smallest_image_px=33,
        signed_input=True,
    ),
    FamilyRule(
        family="googlenet",
        names=("googlenet",),
        body=GOOGLENET_BODY,
        second_group="inception4a",
        signed_input=True,
    ),
    FamilyRule(
        family="inception",
        names=("inception_v3",),
        body=INCEPTION_BODY,
        second_group="Mixed_6a",
        smallest_image_px=75,
        signed_input=True,
    ),
    FamilyRule(
        family="maxvit",
        names=("maxvit_t",),
        body=("stem", "blocks"),
        opened=("blocks",),
        second_group="blocks.2",
        fixed_image_px=224,
    ),
    FamilyRule(
        family="mnasnet",
        names=("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"),
        body=("layers",),
        opened=("layers",),
        second_group="layers.10",
    ),
    FamilyRule(
        family="mobilenet",
        names=("mobilenet_v2",),
        opened=FEATURES,
        second_group="features.7",
    ),
    FamilyRule(
        family="mobilenet_v3",
        names=("mobilenet_v3_small",),
        opened=FEATURES,
        second_group="features.4",
    ),
    FamilyRule(
        family="mobilenet_v3",
        names=("mobilenet_v3_large",),
        opened=FEATURES,
        second_group="features.7",
    ),
    FamilyRule(
        family="regnet",
        names=(
            *("regnet_x_400mf", "regnet_x_800mf", "regnet_x_1_6gf", "regnet_x_3_2gf"),
            *("regnet_x_8gf", "regnet_x_16gf", "regnet_x_32gf"),
            *("regnet_y_400mf", "regnet_y_800mf", "regnet_y_1_6gf", "regnet_y_3_2gf"),
            *("regnet_y_8gf", "regnet_y_16gf", "regnet_y_32gf", "regnet_y_128gf"),
        ),
        body=("stem", "trunk_output"),
        opened=("trunk_output",),
        second_group="trunk_output.block3",
    ),
    FamilyRule(
        family="shufflenet",
        names=(
            *("shufflenet_v2_x0_5", "shufflenet_v2_x1_0"),
            *("shufflenet_v2_x1_5", "shufflenet_v2_x2_0"),
        ),
        body=SHUFFLENET_BODY,
        second_group="stage3",
    ),
    FamilyRule(
        family="squeezenet",
        names=("squeezenet1_0", "squeezenet1_1"),
        opened=FEATURES,
        second_group="features.5",
    ),
    FamilyRule(
        family="swin",
        names=("swin_t", "swin_s", "swin_b"),
        body=SWIN_BODY,
        opened=FEATURES,
        second_group="features.4",
    ),
    FamilyRule(
        family="swin_v2",
        names=("swin_v2_t", "swin_v2_s", "swin_v2_b"),
        body=SWIN_BODY,
        opened=FEATURES,
        second_group="features.4",
    ),
    FamilyRule(
        family="vgg",
        names=("vgg11", "vgg13", "vgg16", "vgg19"),
        opened=FEATURES,
        second_group="features.16",
    ),
    FamilyRule(
        family="vgg",
        names=("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
        opened=FEATURES,
        second_group="features.22",
    ),
    *(
        FamilyRule(
            family="vision_transformer",
            names=names,
            body=("class_token", "conv_proj", "encoder"),
            opened=("encoder", "encoder.layers"),
            second_group=f"encoder.layers.encoder_layer_{blocks // 2}",
            fixed_image_px=224,
            vector_features=True,
        )
        for names, blocks in (
            (("vit_b_16", "vit_b_32"), 12),
            (("vit_l_16", "vit_l_32"), 24),
            (("vit_h_14",), 32),
        )
    ),
)
