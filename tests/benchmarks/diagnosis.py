"""How often the diagnosis names the right mistake: every mistake of the book, reworded, on trial.

Each mistake is made in its module, and the module is then written in other words: comments,
docstrings and annotations are gone, local names are others, products and comparisons are turned
round, methods are functions, results have a name before they are returned. A reader's file with
the same bug would look like that. The diagnosis sees the file and nothing else.

Run by `nox -s diagnosis`, which writes docs/assets/diagnosis.json for the site.
"""

import ast
import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from litspec.diagnosis import closest
from litspec.judge import SECONDS, run
from litspec.pages import Concept, Project

LEAST = 0.8
METHODS = {"softmax", "log_softmax", "argmax", "cumsum", "masked_fill", "sqrt", "square", "abs"}


class Reword(ast.NodeTransformer):
    """Says the same in other words."""

    def __init__(self, torch: bool) -> None:
        self.torch = torch

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        arguments = node.args
        names = {one.arg for one in ast.walk(arguments) if isinstance(one, ast.arg)}
        kept = {
            name for one in ast.walk(node) if isinstance(one, ast.Global | ast.Nonlocal)
            for name in one.names
        }  # fmt: skip
        inner = {one.name for one in ast.walk(node) if isinstance(one, ast.FunctionDef)}
        bound = {
            one.id
            for one in ast.walk(node)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        }
        others = {name: f"{name[0]}{at}" for at, name in enumerate(sorted(bound))}
        for name in names | kept | inner | inner_arguments(node):
            others.pop(name, None)
        for one in ast.walk(node):
            if isinstance(one, ast.Name):
                one.id = others.get(one.id, one.id)
        for one in ast.walk(arguments):
            if isinstance(one, ast.arg):
                one.annotation = None
        node.returns = None
        if ast.get_docstring(node) is not None and len(node.body) > 1:
            node.body = node.body[1:]
        return self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> list[ast.stmt] | ast.Return:
        node = self.generic_visit(node)
        if node.value is None or isinstance(node.value, ast.Name | ast.Constant):
            return node
        stored = ast.Assign([ast.Name("outcome", ast.Store())], node.value)
        return [stored, ast.Return(ast.Name("outcome", ast.Load()))]

    def visit_BinOp(self, node: ast.BinOp) -> ast.BinOp:
        node = self.generic_visit(node)
        if isinstance(node.op, ast.Mult):
            node.left, node.right = node.right, node.left
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.Compare:
        turned = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE}
        node = self.generic_visit(node)
        if len(node.ops) == 1 and type(node.ops[0]) in turned:
            return ast.Compare(node.comparators[0], [turned[type(node.ops[0])]()], [node.left])
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.IfExp:
        node = self.generic_visit(node)
        return ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.orelse, node.body)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        node = self.generic_visit(node)
        if node.attr == "mT":
            return ast.parse(f"({ast.unparse(node.value)}).transpose(-2, -1)", mode="eval").body
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        node = self.generic_visit(node)
        method = node.func
        if (
            self.torch
            and isinstance(method, ast.Attribute)
            and method.attr in METHODS
            and ast.unparse(method.value) not in {"torch", "F", "math", "nn.functional"}
        ):
            function = ast.Attribute(ast.Name("torch", ast.Load()), method.attr, ast.Load())
            return ast.Call(function, [method.value, *node.args], node.keywords)
        return node


def inner_arguments(node: ast.AST) -> set[str]:
    """Return the argument names of functions and lambdas inside, which callers may spell out."""
    return {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}


def reword(source: str) -> str:
    """Return a module that does the same in other words."""
    tree = ast.parse(source)
    torch = any(
        isinstance(node, ast.Import) and any(one.name == "torch" for one in node.names)
        for node in tree.body
    )
    return ast.unparse(ast.fix_missing_locations(Reword(torch).visit(tree)))


def trial(project: Project, concept: Concept) -> Iterator[dict[str, object]]:
    """Yield for each mistake of a concept what the diagnosis says of it."""
    with tempfile.TemporaryDirectory() as folder:
        options = []
        for mistake in concept.page.mistakes:
            file = Path(folder) / f"{mistake.name}.py"
            file.write_text(reword(mistake.apply(concept.module.read_text())))
            options.append(f"--yours={concept.path}={file}")
        seen = run(project, [concept], "--explain", f"--law-seconds={SECONDS}", *options)
    for mistake in concept.page.mistakes:
        name = f"yours:{mistake.name}" if len(options) > 1 else "yours"
        named = closest(concept, seen.get(concept.path, ()), name)
        yield {
            "mistake": mistake.id,
            "named": named[0][0].id if named else None,
            "alike": round(named[0][1], 2) if named else 0.0,
        }


def main(paths: list[str]) -> int:
    """Try all concepts, or those named; write the record, and fail below the least share."""
    project = Project.find(Path.cwd())
    concepts = [project.concepts[path] for path in paths or project.concepts]
    with ThreadPoolExecutor(2) as pool:
        trials = list(pool.map(lambda one: list(trial(project, one)), concepts))
    for concept, results in zip(concepts, trials, strict=True):
        right = sum(one["mistake"] == one["named"] for one in results)
        print(f"{concept.path:28} {right:3} of {len(results):3}")
        for one in results:
            if one["mistake"] != one["named"]:
                print(f"    {one['mistake']} taken for {one['named']} ({one['alike']})")
    together = [one for results in trials for one in results]
    share = sum(one["mistake"] == one["named"] for one in together) / len(together)
    print(f"{share:.1%} of {len(together)} reworded mistakes are named first")
    if not paths:
        file = project.docs / "assets" / "diagnosis.json"
        record = json.loads(file.read_text(encoding="utf-8"))  # `nox -s foreign` writes there too
        record |= {"share": round(share, 3), "trials": together}
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if share >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
