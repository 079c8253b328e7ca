"""An option file's content without its wrong values, for checks of values against each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any

from rcan_plugin.options import keys as tables
from rcan_plugin.options.mistakes import KeyPath, Mistake
from rcan_plugin.options.signatures import is_or_extends, registered


class View:
    """The options without wrong values.

    Args:
        options: an option file's content.
        wrong: keys with a mistake.
    """

    def __init__(self, options: Mapping[str, Any], wrong: Set[KeyPath]) -> None:
        self.options, self.wrong = options, set(wrong)

    def get(self, *path: str, default: Any = None) -> Any:
        """The value at a path; the default if there is no value, or it or a part of it has a mistake."""
        value: Any = self.options
        for key in path:
            if not isinstance(value, Mapping) or value.get(key) is None:
                return default
            value = value[key]
        return default if self.has_mistake(*path) else value

    def has_mistake(self, *path: str) -> bool:
        """Whether the value at a path, or a part of it, has a mistake."""
        return any(mistake[: len(path)] == path for mistake in self.wrong)

    def datasets(self) -> dict[str, Mapping[str, Any]]:
        """The data sets that have no mistake."""
        sections = self.options.get("datasets")
        phases = sections if isinstance(sections, Mapping) else ()
        return {phase: data for phase in phases if (data := self.get("datasets", phase)) is not None}

    @property
    def model(self) -> Any:
        """The class of the model; None if none is registered under `model_type`."""
        return registered("models").get(self.get("model_type"))

    @property
    def is_ours(self) -> bool:
        """Whether the model is `AcceleratedSRModel` or is derived from it."""
        return self.model is not None and is_or_extends(self.model, tables.OUR_MODELS)

    def locate(self, error: Exception, path: KeyPath) -> Mistake:
        """Convert an error to a `Mistake`; its text may begin with the keys that it is about.

        Args:
            error: error of the class or function that reads the section.
            path: path of the section.
        """
        text = " ".join(str(error).split()) or type(error).__name__
        text = re.sub(r"^data set [^:]*: ", "", text)
        text = text.removeprefix("".join(f"{key}: " for key in path))
        section = self.get(*path) if path else self.options
        while (match := re.match(r"(?:option )?(\w+)(: | (?=is |names ))", text)) and isinstance(section, Mapping):
            if match[1] not in section:
                break
            path, text, section = (*path, match[1]), text[match.end() :], section[match[1]]
        return Mistake(path, text if text.endswith(".") else f"{text}.")
