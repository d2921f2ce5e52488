"""Write for the pages, which have no Python, what an explorer's traits may be: `make rules`.

A link to a figure says its state, and whoever makes the link may write anything into it. So a page
checks each value by the rule of its trait, in words of JSON Schema (https://json-schema.org). The
rules of `d2lite.checks` are read off; where a function of an explorer's own reads the trait, its
schema stands here. What only several traits together can break, `fits` looks at, which an
explorer's module exports beside `render`.
"""

import inspect
import json
from typing import Any

from d2lite import explore
from d2lite.checks import Rule, boolean
from d2lite.explore import augmentation, training
from d2lite.explore.explorer import Checked
from notebooks import ROOT

Schema = dict[str, Any]
RULES = ROOT / "book" / "_static" / "rules.js"
NAMES = {"at_least": "minimum", "at_most": "maximum", "above": "exclusiveMinimum"}
NAMES |= {"below": "exclusiveMaximum"}


def number(at_least: float, at_most: float) -> Schema:
    """Return the schema of a number in a range."""
    return {"type": "number", "minimum": at_least, "maximum": at_most}


def whole(at_least: int, at_most: int) -> Schema:
    """Return the schema of a whole number in a range."""
    return number(at_least, at_most) | {"type": "integer"}


def array(items: Schema, at_least: int, at_most: int, **more: Any) -> Schema:
    """Return the schema of a list that is so long."""
    return {"type": "array", "items": items, "minItems": at_least, "maxItems": at_most} | more


def record(properties: dict[str, Schema]) -> Schema:
    """Return the schema of an object that has these properties, all of them and no others."""
    return {"type": "object", "properties": properties, "required": list(properties)}


#: A number in a cell: of a size at which the sums of a figure are still numbers.
CELL = number(-1e6, 1e6)
_share, _lr = number(0, 0.9999), number(1e-6, 1e3)
_betas = {"beta1": _share, "beta2": _share, "weight_decay": number(0, 10)}
_optimizers = {
    "SGD": {},
    "momentum": {"momentum": _share},
    "Nesterov": {"momentum": _share | {"exclusiveMinimum": 0}},
    "AdaGrad": {},
    "RMSProp": {"alpha": _share},
    "Adam": _betas,
    "AdamW": _betas,
}
_layer = {
    "operation": {"enum": ["convolution", "pooling"]},
    "kernel_size": whole(1, 64),
    "stride": whole(1, 16),
    "padding": whole(0, 64),
    "dilation": whole(1, 32),
}
_box = {"box": array(number(0, 64), 4, 4), "label": whole(0, 9)}
_garment = {"index": whole(0, 39), "x": whole(0, 48), "y": whole(0, 48), "size": whole(16, 32)}
_schedules = ["constant", "step_decay", "cosine", "one_cycle", "triangular"]
#: What functions read that explorers have of their own.
READS: dict[str, Schema] = {
    "boxes._pixels": array(whole(0, 255), 4096, 4096),
    "boxes._predictions": array(record(_box | {"score": number(0, 1)}), 0, 12),
    "boxes._targets": array(record(_box), 1, 9),
    "channels._table": array(array(whole(0, 1), 1, 16), 1, 16),
    "detector._garments": array(record(_garment), 0, 6),
    "latent._point": array(number(-100, 100), 2, 2),
    "network.read_pixels": array(whole(0, 255), 784, 784),
    "normalization._values": array(array(array(CELL, 1, 4), 1, 6), 1, 4),
    "normalization._vector": array(CELL, 1, 6),
    "normalization._variances": array(number(0, 1e6), 1, 6),
    "normalization._place": array(whole(0, 5), 3, 3),
    "optimizer._noise": number(0, 100),
    "optimizer._place": array(number(-100, 100), 2, 2),
    "optimizer._optimizers": {
        "type": "object",
        "properties": {n: record({"lr": _lr} | settings) for n, settings in _optimizers.items()},
        "minProperties": 1,
    },
    "output_size._padding": {"anyOf": [{"enum": ["same"]}, whole(0, 512)]},
    "receptive_field._layers": array(record(_layer), 1, 40),
    "schedule._names": array({"enum": _schedules}, 1, 5, uniqueItems=True),
    "transformer._text": {"type": "string", "maxLength": 288, "pattern": r"^[\n -~]*$"},
    "vit._patches": array(whole(0, 783), 0, 784, uniqueItems=True),
}


def schema(rule: Rule) -> Schema:
    """Return a rule's schema; raise ValueError for one that this tool does not know."""
    if rule is boolean:
        return {"type": "boolean"}
    made_by = rule.__qualname__.split(".")[0]
    given = inspect.getclosurevars(rule).nonlocals
    if made_by == "one_of":
        return {"enum": list(given["choices"])}
    if made_by == "matrix":
        side = given["at_least"], given["at_most"]
        return array(array(CELL, *side), *side)
    if made_by in ("integer", "number"):
        bounds = {NAMES[n]: x for n, x in given.items() if n in NAMES and abs(x) < float("inf")}
        return {"type": made_by} | bounds
    name = f"{rule.__module__.split('.')[-1]}.{made_by}"
    if name not in READS:
        raise ValueError(f"{name}: what it reads needs a schema in tools/rules.py")
    return READS[name]


def _kinds(module: Any) -> Schema:
    """Return the schema of a record of any of an explorer's kinds, each with its settings."""
    records = [
        record({"kind": {"enum": [kind]}} | {name: schema(rule) for name, (_, rule) in own.items()})
        for kind, own in module._KINDS.items()
    ]
    return {"anyOf": records}


_settings = {name: schema(rule) for name, rule in training._RULES.items()}
READS["training._runs"] = array(
    record({"layers": array(_kinds(training), 1, 60)} | _settings), 1, training.MOST
)
READS["augmentation._chain"] = array(_kinds(augmentation), 0, len(augmentation._KINDS))


def rules() -> dict[str, dict[str, Schema]]:
    """Return each explorer's rules, by trait."""
    explorers = {name: getattr(explore, name) for name in explore.__all__}
    return {
        name: {
            trait: schema(each.rule)
            for trait, each in explorer.class_traits().items()
            if isinstance(each, Checked)
        }
        for name, explorer in explorers.items()
    }


def written() -> str:
    """Return the script that tells them to a page."""
    lines = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in rules().items()]
    head = '/* What a link may set in each explorer. Made by tools/rules.py. */\n"use strict";\n'
    return head + "const explorerRules = {\n" + ",\n".join(lines) + "\n};\n"


if __name__ == "__main__":
    RULES.write_text(written(), encoding="utf-8")
