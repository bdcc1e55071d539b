"""What a run found: counted, explained, and readable."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby, zip_longest

from comparison import Comparison, Mismatch
from rules import RULES, Rule, explanation
from scenario import Scenario
from session import ENDED_EARLY, Step

SHOWN_CHARS = 600
"""Characters of a value that the report shows."""

MAX_METHODS = 5
"""Methods that are named for an additional key."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference at a step.

    Attributes
    ----------
    step : str
        ``script: step``.
    mismatch : Mismatch
        Where and how the answers differ.
    rule : Rule or None
        What explains it.
    """

    step: str
    mismatch: Mismatch
    rule: Rule | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a script in one encoding.

    Attributes
    ----------
    steps : int
        Number of requests.
    findings : tuple of Finding
        Differences.
    additions : frozenset of pair of str
        Paths of keys that only our answers have, and the method.
    broken : bool
        One of the scripts ended early, or they went apart.
    """

    encoding: str
    steps: int
    findings: tuple[Finding, ...]
    additions: frozenset[tuple[str, str]]
    broken: bool

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        encoding: str,
        theirs: list[Step],
        ours: list[Step],
        directories: tuple[str, str],
    ) -> Outcome:
        """Compare what the daemons answered."""
        comparison = Comparison(directories)
        findings: list[Finding] = []
        additions: set[tuple[str, str]] = set()
        broken = False
        for left, right in zip_longest(theirs, ours):
            if left is None or right is None or left.name != right.name:
                step = f"{scenario.name}: {(left or right).name}"
                apart = Mismatch("(step)", left and left.reply, right and right.reply)
                findings.append(Finding(step, apart, None))
                broken = True
                break
            step = f"{scenario.name}: {left.name}"
            comparison.additions.clear()
            if left.name == ENDED_EARLY:
                findings.append(Finding(step, Mismatch("(step)", left.reply, right.reply), None))
                broken = True
                break
            for mismatch in comparison.compare(left.reply, right.reply):
                findings.append(Finding(step, mismatch, explanation(step, mismatch)))
            additions.update((path, left.method) for path in comparison.additions)
        return cls(encoding, len(theirs), tuple(findings), frozenset(additions), broken)


@dataclass
class Report:
    """Collects outcomes.

    Attributes
    ----------
    complete : bool
        All scripts are run, in all encodings; then rules that match nothing are a fault, too.
    explained : bool
        Show what is explained, too.
    """

    complete: bool
    explained: bool = False
    outcomes: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Take an outcome."""
        self.outcomes.append(outcome)

    @property
    def passed(self) -> bool:
        """Whether all differences are explained, and all rules are of use."""
        return not (self._unexplained() or self._idle_rules() or any(o.broken for o in self.outcomes))

    def _findings(self) -> list[tuple[str, Finding]]:
        return [(o.encoding, f) for o in self.outcomes for f in o.findings]

    def _unexplained(self) -> list[Finding]:
        return [finding for _, finding in self._findings() if finding.rule is None]

    def _shown(self) -> list[str]:
        """The differences, each with the encodings in which it showed."""
        found: dict[tuple[str, str, str], list[str]] = {}
        for encoding, finding in self._findings():
            if finding.rule is None or self.explained:
                theirs, ours = _short(finding.mismatch.theirs), _short(finding.mismatch.ours)
                row = f"\n    row:   {finding.rule.row}" if finding.rule else ""
                text = f"    there: {theirs}\n    here:  {ours}{row}\n"
                found.setdefault((finding.step, finding.mismatch.path, text), []).append(encoding)
        return [
            f"{step}  [{', '.join(dict.fromkeys(encodings))}]\n  {path or '(answer)'}\n{text}"
            for (step, path, text), encodings in found.items()
        ]

    def _idle_rules(self) -> list[Rule]:
        if not self.complete:
            return []
        used = {f.rule for _, f in self._findings()}
        return [rule for rule in RULES if rule not in used and not rule.sometimes]

    def summary(self) -> str:
        """One line."""
        steps = sum(o.steps for o in self.outcomes)
        explained = sum(f.rule is not None for _, f in self._findings())
        return (
            f"{len(self.outcomes)} scripts, {steps} requests: {explained} explained differences, "
            f"{len(self._unexplained())} unexplained"
        )

    def text(self) -> str:
        """The whole report."""
        lines = ["Answers compared with those of bluesky-queueserver", "", self.summary(), ""]
        lines += self._shown()
        lines += [f"rule that matches nothing: {rule}" for rule in self._idle_rules()]
        counts = Counter(f.rule.row for _, f in self._findings() if f.rule is not None)
        lines += ["", "Explained in docs/reference/differences.md:", ""]
        lines += [f"{count:6}  {row}" for row, count in counts.most_common()] or ["     0"]
        lines += ["", "Keys that are not there:", ""]
        lines += self._additions()
        return "\n".join(lines)

    def _additions(self) -> list[str]:
        """Keys that only our answers have, and the methods whose answers have them."""
        found = sorted(set().union(*(o.additions for o in self.outcomes)))
        lines = []
        for path, pairs in groupby(found, key=lambda pair: pair[0]):
            methods = [method for _, method in pairs if method]
            shown = ", ".join(methods[:MAX_METHODS])
            more = f" and {len(methods) - MAX_METHODS} more" if len(methods) > MAX_METHODS else ""
            lines.append(f"  {path}: {shown}{more}")
        return lines


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}... ({len(text)} characters)"
