"""Metrics, tables and the code map, read from their definitions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

import alerting.metrics
import api.metrics
import ingest.metrics
import server.metrics
from docs.made.markdown import code, table
from docs.made.words import PACKAGES, TABLES

ROOT = Path(__file__).resolve().parents[2]


def metric_objects() -> list[MetricWrapperBase]:
    """All our metrics, by name."""
    found = {
        id(thing): thing
        for module in (ingest.metrics, alerting.metrics, api.metrics, server.metrics)
        for thing in vars(module).values()
        if isinstance(thing, MetricWrapperBase)
    }
    return sorted(found.values(), key=metric_name)


def metric_name(metric: MetricWrapperBase) -> str:
    """As Prometheus shows it."""
    shown = next(iter(metric.describe()))
    return f"{shown.name}_total" if shown.type == "counter" else shown.name


def metrics() -> str:
    """Every metric with its labels."""
    rows = []
    for metric in metric_objects():
        shown = next(iter(metric.describe()))
        labels = ", ".join(code(label) for label in metric._labelnames)
        rows.append((code(metric_name(metric)), shown.type, labels, shown.documentation))
    return table(("metric", "type", "labels", "meaning"), rows)


CREATE = re.compile(r"^CREATE TABLE (\w+) \(\n(.*?)^\);", re.DOTALL | re.MULTILINE)
HYPER = re.compile(r"create_hypertable\('(\w+)', by_range\('\w+', INTERVAL '([^']+)'\)")
CONSTRAINTS = ("PRIMARY KEY", "UNIQUE", "CHECK", "FOREIGN KEY", "CONSTRAINT")


def sql() -> str:
    """All migrations, one after the other."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "db/migrations").glob("*.sql")))


def table_names() -> list[str]:
    """All tables, in the order they are made."""
    return [name for name, _ in CREATE.findall(sql())]


def database_tables() -> str:
    """Every table with its columns, as the migrations make them."""
    chunks = dict(HYPER.findall(sql()))
    parts = []
    for name, body in CREATE.findall(sql()):
        kind = f" Hypertable, one chunk each {chunks[name]}." if name in chunks else ""
        parts.append(f"### `{name}`\n\n{TABLES[name]}{kind}\n\n```sql\n{plain(body)}\n```")
    return "\n\n".join(parts)


def plain(body: str) -> str:
    """The columns and constraints of a table, without the indent."""
    lines = [line.rstrip() for line in body.rstrip().splitlines()]
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join(line[indent:] for line in lines)


# ---------------------------------------------------------------- the code map


def code_map() -> str:
    """Every module of every package with the first line of its docstring."""
    lines = []
    for package, words in PACKAGES.items():
        lines.append(f"{package + '/':<34} {words}")
        for path in sorted((ROOT / package).rglob("*.py"), key=lambda p: (len(p.parents), str(p))):
            about = first_line(path)
            if about:
                lines.append(f"  {path.relative_to(ROOT / package)!s:<32} {about}")
    return "```\n" + "\n".join(lines) + "\n```"


def first_line(path: Path) -> str:
    """The first line of a module's docstring, without its full stop and code marks."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n", 1)[0].replace("``", "").rstrip(".")
