"""Translates PTX, the output of NVRTC, to C++ for the emulator.

The emulator compiles the kernels as C++, where the inline assembly of prelude.cuh is replaced with functions of its own. The same
kernels by way of PTX are what the compiler and the inline assembly really say: `run.py` runs the tests on them.

It knows the instructions that the kernels use; another one ends it with its text.
"""

import re

TYPES = {
    "b8": "uint8_t", "u8": "uint8_t", "s8": "int8_t",
    "b16": "uint16_t", "u16": "uint16_t", "s16": "int16_t",
    "b32": "uint32_t", "u32": "uint32_t", "s32": "int32_t",
    "b64": "uint64_t", "u64": "uint64_t", "s64": "int64_t",
    "f32": "float", "f64": "double", "pred": "bool",
}
SPECIAL = {
    f"%{ptx}.{axis}": f"{cpp}.{axis}"
    for ptx, cpp in (("tid", "threadIdx"), ("ctaid", "blockIdx"), ("ntid", "blockDim"), ("nctaid", "gridDim"))
    for axis in "xyz"
}
BINARY = {
    "add": "+", "sub": "-", "mul": "*", "mul.lo": "*", "and": "&", "or": "|", "xor": "^",
    "add.rn": "+", "sub.rn": "-", "mul.rn": "*", "div.rn": "/", "div": "/", "rem": "%",
}
COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
# True for NaN as well: not the opposite comparison.
UNORDERED = {"ltu": ">=", "leu": ">", "gtu": "<=", "geu": "<", "equ": "!=", "neu": "=="}

HEADER = """#include "instructions.h"
static inline uint32_t insert_bits(uint32_t a, uint32_t b, uint32_t position, uint32_t length) {
    uint32_t mask = (uint32_t)((1ull << length) - 1) << position;
    return (b & ~mask) | (a << position & mask);
}
static inline void* in_shared(uint32_t at, size_t bytes) {
    check_shared(shared_memory() + at, bytes);
    return shared_memory() + at;
}
static inline void* in_global(uint64_t at, size_t bytes) {
    check_aligned((void*)at, bytes);
    return (void*)at;
}
static inline void copy_part(uint32_t to, uint64_t from, int size, uint32_t source) {
    if (source != 0 && source != (uint32_t)size) emulator::block().fail("a copy of a part of its bytes");
    copy_async(shared_memory() + to, (void*)from, size, source != 0);
}
static inline void check_shuffle(uint32_t clamp, uint32_t mask) {
    if (clamp != 31 || mask != 0xffffffff) emulator::block().fail("a shuffle of a part of a warp");
}
static inline float copy_sign(float sign, float x) { return copysignf(x, sign); }
"""


def identifier(name):
    return re.sub(r"[%$]", "_", name)


def split(text):
    """Operands at the top level of commas."""
    parts, depth, current = [], 0, ""
    for char in text:
        depth += (char in "{[(") - (char in "}])")
        if char == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += char
    return parts + ([current.strip()] if current.strip() else [])


def elements(text):
    return [part.strip() for part in text.strip("{}").split(",")] if text.startswith("{") else [text]


class Function:
    """One kernel."""

    def __init__(self, name, parameters, body):
        self.name, self.body = name, body
        self.sizes = [size(parameter) for parameter in split(parameters)]
        self.kinds = {
            prefix: TYPES[kind] for kind, prefix in re.findall(r"\.reg \.(\w+)\s+(%\w+?)<\d+>;", body)
        }

    def kind(self, register):
        return self.kinds[re.match(r"%[A-Za-z]+", register).group()]

    def read(self, operand, kind):
        """An operand as a value of a C++ type: registers hold bits, which the instruction interprets."""
        if operand in SPECIAL:
            return f"({kind}){SPECIAL[operand]}"
        if match := re.fullmatch(r"0f([0-9A-Fa-f]{8})", operand):
            return f"float_of(0x{match[1]}u)" if kind == "float" else f"({kind})0x{match[1]}u"
        if match := re.fullmatch(r"0d([0-9A-Fa-f]{16})", operand):
            return f"bits_as<double>(0x{match[1]}ull)"
        if re.fullmatch(r"-?\d+|0x[0-9A-Fa-f]+", operand):
            return f"({kind})({operand}{'ll' if '64' in kind else ''})"
        if operand == "shared_bytes":
            return f"({kind})0"
        assert operand.startswith("%"), operand
        own, name = self.kind(operand), identifier(operand)
        if own == kind:
            return name
        if "bool" in (own, kind):
            raise SystemExit(f"{operand} is a predicate")
        if own in ("float", "double") or kind in ("float", "double"):
            return f"bits_as<{kind}>({name})"
        return f"({kind}){name}"

    def write(self, register, expression, kind):
        own, name = self.kind(register), identifier(register)
        if own != kind and (own in ("float", "double") or kind in ("float", "double")):
            return f"{name} = bits_as<{own}>(({kind})({expression}));"
        return f"{name} = ({own})({expression});"

    def address(self, operand, space, bytes_of):
        base, offset = re.fullmatch(r"\[([%\w]+?)(?:\+(-?\d+))?\]", operand).groups()
        offset = offset or "0"
        if space == "param":
            return f"((char*)arguments[{base.rsplit('_', 1)[1]}] + {offset})"
        if space == "shared":
            return f"in_shared({self.read(base, 'uint32_t')} + {offset}, {bytes_of})"
        return f"in_global({self.read(base, 'uint64_t')} + {offset}, {bytes_of})"

    def memory(self, parts, operands):
        """ld and st, of one or several numbers."""
        vector = next((int(part[1:]) for part in parts if re.fullmatch(r"v\d", part)), 1)
        kind, is_load = TYPES[parts[-1]], parts[0] == "ld"
        registers, place = (operands[0], operands[1]) if is_load else (operands[1], operands[0])
        at = self.address(place, parts[1], f"sizeof({kind}) * {vector}")
        moves = [
            self.write(register, f"at[{i}]", kind) if is_load else f"at[{i}] = {self.read(register, kind)};"
            for i, register in enumerate(elements(registers))
        ]
        return f"auto* at = ({kind}*){at}; " + " ".join(moves)

    def compare(self, parts, operands):
        kind = TYPES[parts[-1]]
        x, y = self.read(operands[1], kind), self.read(operands[2], kind)
        relation = parts[1]
        negated = UNORDERED.get(relation)
        value = f"!({x} {negated} {y})" if negated else f"{x} {COMPARE[relation]} {y}"
        return f"{identifier(operands[0])} = {value};"

    def matrices(self, op, operands):
        load = "load_matrices_transposed" if ".trans." in op else "load_matrices"
        base, offset = re.fullmatch(r"\[([%\w]+?)(?:\+(-?\d+))?\]", operands[1]).groups()
        at = f"shared_memory() + {self.read(base, 'uint32_t')} + {offset or 0}"
        stores = [self.write(r, f"out[{i}]", "uint32_t") for i, r in enumerate(elements(operands[0]))]
        return f"uint32_t out[4]; {load}(out, {at}); " + " ".join(stores)

    def product(self, operands):
        d, a, b, c = map(elements, operands)
        sums = ", ".join(self.read(x, "float") for x in c)
        left = ", ".join(self.read(x, "uint32_t") for x in a)
        right = ", ".join(self.read(x, "uint32_t") for x in b)
        stores = " ".join(self.write(x, f"sums[{i}]", "float") for i, x in enumerate(d))
        return f"float sums[4] = {{{sums}}}; uint32_t left[4] = {{{left}}}; multiply_add(sums, left, {right}); {stores}"

    def instruction(self, op, operands):
        parts = op.split(".")
        base, kind = ".".join(parts[:-1]), TYPES.get(parts[-1])

        def value(index, kind=kind):
            return self.read(operands[index], kind)

        def result(expression, kind=kind):
            return self.write(operands[0], expression, kind)

        simple = {
            "fma.rn": lambda: f"{'fma' if kind == 'double' else 'fmaf'}({value(1)}, {value(2)}, {value(3)})",
            "mad.lo": lambda: f"{value(1)} * {value(2)} + {value(3)}",
            "not": lambda: f"{'!' if kind == 'bool' else '~'}{value(1)}",
            "neg": lambda: f"-{value(1)}",
            "shl": lambda: f"{value(1)} << {value(2, 'uint32_t')}",
            "shr": lambda: f"{value(1)} >> {value(2, 'uint32_t')}",
            "max": lambda: f"{'fmaxf' if kind == 'float' else 'max'}({value(1)}, {value(2)})",
            "min": lambda: f"{'fminf' if kind == 'float' else 'min'}({value(1)}, {value(2)})",
            "abs": lambda: f"fabsf({value(1)})",
            "copysign": lambda: f"copy_sign({value(1)}, {value(2)})",
            "selp": lambda: f"{value(3, 'bool')} ? {value(1)} : {value(2)}",
            "mov": lambda: value(1),
            "ex2.approx.ftz": lambda: f"exp2f({value(1)})",
            "sqrt.rn": lambda: f"sqrtf({value(1)})",
            "rcp.rn": lambda: f"1.0f / {value(1)}",
        }
        if base in BINARY:
            return result(f"{value(1)} {BINARY[base]} {value(2)}")
        if base in simple:
            return result(simple[base]())
        if parts[0] in ("ld", "st"):
            return self.memory(parts, operands)
        if parts[0] == "setp":
            return self.compare(parts, operands)
        if base == "mul.wide":
            wide = {"s32": "int64_t", "u32": "uint64_t"}[parts[-1]]
            return result(f"({wide}){value(1)} * ({wide}){value(2)}", wide)
        if op == "cvt.rn.bf16x2.f32":  # The first operand is the upper half.
            return result(f"pack_bf16({value(2, 'float')}, {value(1, 'float')})", "uint32_t")
        if parts[0] == "cvt":
            to, source = TYPES[parts[-2]], TYPES[parts[-1]]
            return result(f"({to}){value(1, source)}", to)
        if parts[0] == "cvta":
            return result(value(1, "uint64_t"), "uint64_t")
        if op == "bfi.b32":
            return result(f"insert_bits({', '.join(value(i, 'uint32_t') for i in range(1, 5))})", "uint32_t")
        if op == "shfl.sync.bfly.b32":
            operands[0] = operands[0].split("|")[0]
            clamp, mask = value(3, "uint32_t"), value(4, "uint32_t")
            shuffled = f"bits_of(shuffle_xor({value(1, 'float')}, {value(2, 'int32_t')}))"
            return f"check_shuffle({clamp}, {mask}); " + result(shuffled, "uint32_t")
        if op in ("bar.sync", "bar.warp.sync"):
            return "__syncthreads();" if op == "bar.sync" else "__syncwarp();"
        if op in ("cp.async.cg.shared.global", "cp.async.ca.shared.global"):
            to, source = (re.fullmatch(r"\[([%\w]+)\]", place).group(1) for place in operands[:2])
            to, source = self.read(to, "uint32_t"), self.read(source, "uint64_t")
            return f"copy_part({to}, {source}, {operands[2]}, {value(3, 'uint32_t')});"
        if op == "cp.async.commit_group":
            return "commit_copies();"
        if op == "cp.async.wait_group":
            return f"wait_copies<{operands[0]}>();"
        if op.startswith("ldmatrix.sync.aligned.m8n8.x4."):
            return self.matrices(op, operands)
        if op == "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32":
            return self.product(operands)
        raise SystemExit(f"unknown instruction: {op} {', '.join(operands)}")

    def statement(self, text):
        guard = ""
        if match := re.match(r"@(!?)(%p\d+)\s+(.*)", text):
            guard, text = f"if ({match[1]}{identifier(match[2])}) ", match[3]
        op, _, rest = text.replace("\t", " ").partition(" ")
        if op in ("bra", "bra.uni"):
            return f"{guard}goto {identifier(rest.strip())};"
        if op == "ret":
            return f"{guard}return;"
        return f"{guard}{{ {self.instruction(op, split(rest))} }}"

    def translated(self):
        lines = [f"static void ptx_{self.name}(void** arguments) {{"]
        for kind, prefix, count in re.findall(r"\.reg \.(\w+)\s+(%\w+?)<(\d+)>;", self.body):
            registers = ", ".join(f"{identifier(prefix)}{i} = 0" for i in range(1, int(count)))
            lines.append(f"    {TYPES[kind]} {registers};")
        for line in map(str.strip, self.body.split("\n")):
            if not line or line.startswith(".") or line in "{}":
                continue
            if match := re.fullmatch(r"(\$\w+):", line):
                lines.append(f"{identifier(match[1])}:;")
                continue
            lines += ["    " + self.statement(part.strip()) for part in line.split(";") if part.strip()]
        sizes = ", ".join(map(str, self.sizes))
        lines.append("}")
        lines.append(
            f'static emulator::Registration registration_{self.name}("{self.name}", {{ptx_{self.name}, {{{sizes}}}}});'
        )
        return "\n".join(lines)


def size(parameter):
    """Bytes of a parameter of a kernel."""
    if match := re.search(r"\.b8 \w+\[(\d+)\]", parameter):
        return int(match[1])
    return int(re.search(r"\.[usfb](\d+)", parameter)[1]) // 8


def translate(ptx):
    """The C++ of a module."""
    text = re.sub(r"//.*", "", ptx)
    functions = []
    for match in re.finditer(r"\.visible \.entry (\w+)\((.*?)\)\s*(?:\.[^{]*?)?\{", text, re.S):
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        functions.append(Function(match[1], match[2], text[match.end() : end - 1]).translated())
    assert ".local" not in text, "a kernel uses local memory"
    return HEADER + BITS + "\n".join(functions) + "\n"


BITS = """template <class To, class From> static inline To bits_as(From from) {
    static_assert(sizeof(To) <= sizeof(From), "no bits are invented");
    To to;
    memcpy(&to, &from, sizeof(To));
    return to;
}
"""
