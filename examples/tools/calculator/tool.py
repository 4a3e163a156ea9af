"""A calculator: arithmetic by Python's own parser, of which only numbers and operators are let through."""

import ast
import math
import operator
from decimal import Decimal, DivisionByZero, InvalidOperation, localcontext

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
FUNCTIONS = {"abs": abs, "min": min, "max": max, "round": round, "sqrt": lambda value: value.sqrt()}


def run(arguments, _context):
    """Work out an expression. Return the result as text, without zeros at its end."""
    with localcontext() as context:
        context.prec = 60
        try:
            tree = ast.parse(arguments["expression"].strip(), mode="eval")
            result = value_of(tree.body)
        except (SyntaxError, RecursionError, MemoryError):
            raise ValueError("This is not an arithmetic expression.") from None
        except (DivisionByZero, InvalidOperation):
            raise ValueError("This has no result.") from None
        if not math.isfinite(result):
            raise ValueError("The result is too large.")
        if result != result.to_integral_value():
            context.prec = 20
        text = format((+result).normalize(), "f")
    return text if len(text) <= 70 else str(result)


def value_of(node):
    """Work out a part of an expression. Return its value."""
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return Decimal(str(node.value))
        case ast.BinOp(op=ast.Pow()):
            return power(value_of(node.left), value_of(node.right))
        case ast.BinOp() if type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](value_of(node.left), value_of(node.right))
        case ast.UnaryOp() if type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](value_of(node.operand))
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS and node.args:
            return Decimal(FUNCTIONS[name](*map(value_of, node.args)))
        case _:
            raise ValueError("Only numbers, + - * / // % **, parentheses and abs, min, max, round, sqrt are known.")


def power(base, exponent):
    if abs(exponent) > 1000:
        raise ValueError("The exponent is too large.")
    return base**exponent
