"""Mistakes in reading image references, patterns, the policy and manifests."""

from __future__ import annotations

from typing import Final

from tests.bypasses.mistakes import mistake

MODEL: Final = "webhook/policy/model.py"
REFERENCE: Final = "webhook/images/reference.py"
PATTERNS: Final = "webhook/images/patterns.py"
REGISTRIES: Final = "webhook/registries.py"
TREES: Final = "webhook/cli/yaml_nodes.py"
NAMING: Final = "webhook/swr/naming.py"
T_VALIDATOR: Final = "tests/unit/admission/test_validator.py"
T_EVALUATOR: Final = "tests/unit/admission/test_evaluator.py"
T_PATTERNS: Final = "tests/unit/images/test_patterns.py"
T_CLI: Final = "tests/unit/cli/test_review.py"
T_MEMORY: Final = "tests/bypasses/test_cache.py"
T_SWR: Final = "tests/bypasses/test_hostile_swr.py"
T_PROTOCOL: Final = "tests/bypasses/test_protocol.py"
FUZZ_REFERENCES: Final = "tests/fuzz/test_references.py"
FUZZ_CONFIGURATION: Final = "tests/fuzz/test_configuration.py"
TABLE: Final = f"{T_EVALUATOR}::test_each_image_has_one_finding_and_one_effect"

POLICY_MISTAKES: Final = (
    mistake(
        "T12 T25",
        "no rule applies to an invalid reference",
        f"{T_VALIDATOR}::test_unreadable_image_does_not_bypass_strict_rule",
        (MODEL, "self._index.catching_all & scope.rules", "0"),
    ),
    mistake(
        "T17",
        "any user may use break-glass",
        f"{T_VALIDATOR}::test_break_glass_of_unauthorized_user_is_ignored",
        (
            MODEL,
            "        return username in self.users or",
            "        return True or username in self.users or",
        ),
    ),
    mistake(
        "T19",
        "a registry is recognized by a prefix of its host",
        TABLE,
        (
            REGISTRIES,
            "self._by_host.get(reference.domain, ())",
            "[r for h, all_of in self._by_host.items() if reference.domain.startswith(h) for r in all_of]",
        ),
    ),
    mistake(
        "T19",
        "a pattern's host is compared by its suffix without the dot",
        f"{T_PATTERNS}::test_patterns_match_whole_components",
        (PATTERNS, "suffix = self.domain[1:]", "suffix = self.domain[2:]"),
    ),
    mistake(
        "T20",
        "a pattern is compared by a prefix of the path",
        f"{T_PATTERNS}::test_patterns_match_whole_components",
        (PATTERNS, '"".join(f"{parent}/" for parent in parents) if', '"/".join(parents) if'),
    ),
    mistake(
        "T20",
        "a name without a host is not Docker Hub's",
        f"{T_PATTERNS}::test_patterns_match_whole_components",
        (REFERENCE, '        if "/" not in path:\n            path = f"{OFFICIAL_NAMESPACE}/{path}"\n', ""),
    ),
    mistake(
        "T21",
        "an unknown region is looked up in the first one",
        TABLE,
        (
            REGISTRIES,
            "                return registry\n        return None",
            "                return registry\n        return self.registries[0]",
        ),
    ),
    mistake(
        "T22",
        "a dollar sign is sent in the path, where it means a slash",
        f"{T_SWR}::test_nested_repository_is_sent_with_dollar_separators",
        (
            REFERENCE,
            '_PATH_COMPONENT: Final = re.compile(r"[a-z0-9]+',
            '_PATH_COMPONENT: Final = re.compile(r"[a-z0-9$]+',
        ),
        (NAMING, '_REST: Final = r"[a-z0-9]*', '_REST: Final = r"[a-z0-9$]*'),
    ),
    mistake(
        "T23",
        "names are validated by SWR only",
        f"{T_SWR}::test_hostile_name_is_denied_without_call",
        (
            REFERENCE,
            '_PATH_COMPONENT: Final = re.compile(r"[a-z0-9]+',
            '_PATH_COMPONENT: Final = re.compile(r"[^/]+',
        ),
        (NAMING, '_REST: Final = r"[a-z0-9]*', '_REST: Final = r"[^/]*'),
    ),
    mistake(
        "T24",
        "the port is not part of the host",
        TABLE,
        (
            REGISTRIES,
            "self._by_host.get(reference.domain, ())",
            'self._by_host.get(reference.domain.replace(":444", ""), ())',
        ),
    ),
    mistake(
        "T24",
        "an internal address is recognized without configuration",
        TABLE,
        (
            REGISTRIES,
            "self._by_host.get(reference.domain, ())",
            'self._by_host.get(reference.domain, self.registries if ":20202" in reference.domain else ())',
        ),
    ),
    mistake(
        "T25",
        "a digest without a tag is read as latest",
        f"{T_SWR}::test_digest_only_image_requires_all_tags_trusted",
        (REFERENCE, "    if tag is None and not at:", "    if tag is None:"),
    ),
    mistake(
        "T27",
        "the last matching rule applies",
        TABLE,
        (
            MODEL,
            "self._index.rules.match(reference, scope.rules, pause=pause)",
            "self._index.rules.match(reference, scope.rules, 0, pause)",
        ),
        (
            MODEL,
            "for position in positions_in(possible)]",
            "for position in [*positions_in(possible)][-1:]]",
        ),
    ),
    mistake(
        "T34",
        "the cache of matches has no bound",
        f"{T_MEMORY}::test_parse_and_match_caches_are_bounded",
        (MODEL, "lru_cache(maxsize=MAX_REMEMBERED)", "lru_cache(maxsize=None)"),
    ),
    mistake(
        "T46",
        "a glob matches any part of a namespace's name",
        f"{T_PROTOCOL}::test_every_review_is_answered_with_its_uid",
        (
            "webhook/policy/pattern_index.py",
            "self._globs.add(glob, (glob, held))",
            'self._globs.add("*" + glob, ("*" + glob, held))',
        ),
    ),
    mistake(
        "T20",
        "an exemption is compared as a prefix",
        f"{FUZZ_REFERENCES}::test_exemption_covers_only_matching_images",
        (PATTERNS, '"".join(f"{parent}/" for parent in parents) if', '"/".join(parents) if'),
        # The index of patterns would not even find it.
        (
            "webhook/policy/pattern_index.py",
            'self._of_host.add(f"{pattern.domain}/{path}", (pattern, held))',
            'self._of_any_host.add("*", (pattern, held))',
        ),
    ),
    mistake(
        "T23",
        "a name may contain anything but a slash",
        f"{FUZZ_REFERENCES}::test_parsed_reference_round_trips",
        (
            REFERENCE,
            '_PATH_COMPONENT: Final = re.compile(r"[a-z0-9]+',
            '_PATH_COMPONENT: Final = re.compile(r"[^/]+',
        ),
    ),
    mistake(
        "T50",
        "an unknown mode is lenient",
        f"{FUZZ_CONFIGURATION}::test_changed_configuration_is_rejected_or_applied_as_written",
        (
            "webhook/policy/schema.py",
            '_Mode = Literal["enforce", "warn", "audit"]',
            '_Mode = Literal["enforce", "warn", "audit", "Enforce", "off"]',
        ),
        (
            "webhook/policy/compiling.py",
            "        mode=Mode(model.mode),\n",
            '        mode=Mode(model.mode if model.mode in list(Mode) else "audit"),\n',
        ),
    ),
    mistake(
        "T55",
        "a merge key is a key like any other",
        f"{T_CLI}::test_yaml_aliases_and_merge_keys_are_resolved",
        (TREES, "if key.tag == _MERGE:", 'if key.value == "":'),
    ),
    mistake(
        "T55",
        "the first of two keys counts",
        f"{T_CLI}::test_last_of_duplicate_keys_is_used",
        (TREES, "entries[key.value] = value", "entries.setdefault(key.value, value)"),
    ),
    mistake(
        "T55",
        "a merge on which parsers differ is accepted",
        f"{T_CLI}::test_unreadable_manifest_is_named_with_file_and_line",
        (TREES, "if twice is not None:", "if not merged:"),
        (TREES, "entries.update(merged)", "entries = merged | entries"),
    ),
)
