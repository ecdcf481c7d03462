"""What makes the site: README and reference as pages, and formulas as MathML, so that no script is needed."""

import ast
import inspect
import re
from pathlib import Path

from mkdocs.structure.files import File

from eosbench.evidence import Evidence
from eosbench.records import KINDS
from eosbench.report.formula import formula

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
FACES = ("curvature", "dynamics", "probes", "problems", "proof")
CLAIMS = {  # what claims are written with, and where it is at home
    "Claim": "eosbench.claim",
    "ClaimError": "eosbench.claim",
    "Document": "eosbench.documents",
    "Evidence": "eosbench.evidence",
    "EvidenceError": "eosbench.claim",
    "Source": "eosbench.claim",
}
CODE = re.compile(r"^```.*?^```|^~~~.*?^~~~|(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL | re.MULTILINE)
FORMULA = re.compile(r"(?<![\\$\w])\$(?!\s)((?:\\.|[^$\\])+?)(?<!\s)\$(?!\w)")


def exported(face):
    """The names that `eosbench.<face>` re-exports, read from its source."""
    tree = ast.parse((ROOT / "eosbench" / face / "__init__.py").read_text(encoding="utf-8"))
    return sorted({name.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names})


def described(title, names):
    """A page with the whole docstring of each name, given with the module where it is looked up."""
    return f"# `{title}`\n\n" + "\n\n".join(f"::: {module}.{name}" for name, module in names.items()) + "\n"


def on_files(files, config):
    """The pages that stand elsewhere or are generated."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, there in PAGES.items():
            text = text.replace(f"]({other})", f"]({there})")
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "api/claim.md", content=described("eosbench, for claims", CLAIMS)))
    for face in FACES:
        names = dict.fromkeys(exported(face), f"eosbench.{face}")
        files.append(File.generated(config, f"api/{face}.md", content=described(f"eosbench.{face}", names)))
    return files


def homes():
    """The page and anchor of each public name."""
    places = {name: ("claim", f"{module}.{name}") for name, module in CLAIMS.items()}
    return {name: (face, f"eosbench.{face}.{name}") for face in FACES for name in exported(face)} | places


def kinds():
    """The kinds of comparison as a table: a row of `KINDS` each, and the first sentence of its method."""
    rows = ["| kind | sign | grade | what it says |", "|---|---|---|---|"]
    for name, kind in KINDS.items():
        sentence = re.match(r".*?[.](?=\s|$)", inspect.getdoc(getattr(Evidence, name)), re.DOTALL)[0]
        says = " ".join(sentence.split()).replace("|", r"\|")
        rows.append(f"| `{name}` | {kind.sign} | {kind.grade} | {says} |")
    return "\n".join(rows)


def on_page_markdown(markdown, page, config, files):
    """Names of the reference become links, kinds of comparison a table; a formula gives way to a word that stays."""
    markdown = markdown.replace("<!-- kinds -->", kinds())
    if page.file.src_uri == "reference.md":
        known = homes()
        markdown = re.sub(
            r"^\| `(\w+)` \|",
            lambda row: "| [`{}`](api/{}.md#{}) |".format(row[1], *known[row[1]]) if row[1] in known else row[0],
            markdown,
            flags=re.MULTILINE,
        )
    if page.file.src_uri.startswith("results/"):
        page.meta["hide"] = ["toc"]  # the tables are wide
    page.meta["formulas"] = formulas = []

    def set_aside(found):
        formulas.append("".join(formula(found[1])))
        return f"FORMULA{len(formulas) - 1}ENDS"

    parts, position = [], 0
    for code in CODE.finditer(markdown):
        parts += [FORMULA.sub(set_aside, markdown[position : code.start()]), code[0]]
        position = code.end()
    return "".join([*parts, FORMULA.sub(set_aside, markdown[position:])])


def on_page_content(html, page, config, files):
    """The formulas come back as MathML."""
    return re.sub(r"FORMULA(\d+)ENDS", lambda word: page.meta["formulas"][int(word[1])], html)


def on_post_page(output, page, config):
    """The theme's switch of colours is hidden, as they follow the reader's system: the Tab key passes it."""
    return output.replace('<input class="md-option"', '<input tabindex="-1" class="md-option"')
