"""Zstandard frames (RFC 8878), reading only, so that repositories open with Python alone.

Slow and small. Dictionaries are refused; checksums of frames are passed over,
because everything in a repository is authenticated and hashed anyway.
"""

from .base import require

LL_BASE = [*range(16), 16, 18, 20, 22, 24, 28, 32, 40, 48, 64, *(1 << n for n in range(7, 17))]
LL_BITS = [0] * 16 + [1, 1, 1, 1, 2, 2, 3, 3, 4, *range(6, 17)]
ML_BASE = [*range(3, 35), 35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, *((1 << n) + 3 for n in range(7, 17))]
ML_BITS = [0] * 32 + [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, *range(7, 17)]
LL_DEFAULT = [4, 3] + [2] * 6 + [2] * 5 + [1] * 3 + [2] * 9 + [3, 2] + [1] * 5 + [-1] * 4
ML_DEFAULT = [1, 4, 3] + [2] * 6 + [1] * 37 + [-1] * 7
OF_DEFAULT = [1] * 6 + [2] * 3 + [1] * 15 + [-1] * 5


class Backward:
    """A bit stream that is read from its end."""

    def __init__(self, data):
        require(data and data[-1], "a bit stream without its mark")
        self.data, self.left = data, len(data) * 8 - 9 + data[-1].bit_length()

    def read(self, count):
        self.left -= count
        if self.left < 0:  # zeros follow the beginning
            missing = min(-self.left, count)
            return (self._at(0, count - missing)) << missing
        return self._at(self.left, count)

    def _at(self, bit, count):
        window = int.from_bytes(self.data[bit >> 3:(bit >> 3) + 9], "little")
        return (window >> (bit & 7)) & ((1 << count) - 1)


def _probabilities(data):
    """The description of an FSE table: probabilities, accuracy, bytes used."""
    bits, at = int.from_bytes(data[:512], "little"), 4
    accuracy = (bits & 15) + 5
    remaining, threshold, width, out = (1 << accuracy) + 1, 1 << accuracy, accuracy + 1, []
    while remaining > 1:
        limit = 2 * threshold - 1 - remaining
        value = bits >> at & (2 * threshold - 1)
        if value & (threshold - 1) < limit:
            value, at = value & (threshold - 1), at + width - 1
        else:
            value, at = value - (limit if value >= threshold else 0), at + width
        out.append(value - 1)
        remaining -= abs(value - 1)
        while value == 1:  # a zero: two bits tell how many follow
            repeat, at = bits >> at & 3, at + 2
            out += [0] * repeat
            if repeat < 3:
                break
        while remaining < threshold:
            width, threshold = width - 1, threshold >> 1
    require(remaining == 1 and (at + 7) // 8 <= len(data), "an FSE table")
    return out, accuracy, (at + 7) // 8


def _fse(probabilities, accuracy):
    """The decoding table: (symbol, bits, base of the next state)."""
    size = 1 << accuracy
    symbols, high, following = [0] * size, size - 1, {}
    for symbol, p in enumerate(probabilities):
        following[symbol] = abs(p)
        if p == -1:
            symbols[high], high = symbol, high - 1
    at, step = 0, (size >> 1) + (size >> 3) + 3
    for symbol, p in enumerate(probabilities):
        for _ in range(max(p, 0)):
            symbols[at] = symbol
            at = (at + step) % size
            while at > high:
                at = (at + step) % size
    table = []
    for symbol in symbols:
        x = following[symbol]
        following[symbol] += 1
        bits = accuracy + 1 - x.bit_length()
        table.append((symbol, bits, (x << bits) - size))
    return table


def _weights(data):
    """The weights of a Huffman tree but the last, and bytes used."""
    head = data[0]
    if head >= 128:
        count = head - 127
        used = 1 + (count + 1) // 2
        return [n for byte in data[1:used] for n in (byte >> 4, byte & 15)][:count], used
    body = data[1:1 + head]
    probabilities, accuracy, used = _probabilities(body)
    table, stream, out = _fse(probabilities, accuracy), Backward(body[used:]), []
    states = [stream.read(accuracy), stream.read(accuracy)]
    while True:
        for i in (0, 1):
            symbol, bits, base = table[states[i]]
            out.append(symbol)
            states[i] = base + stream.read(bits)
            if stream.left < 0:
                return out + [table[states[1 - i]][0]], 1 + head


def _huffman(data):
    """The decoding table of a Huffman tree, its depth, and bytes used."""
    weights, used = _weights(data)
    total = sum(1 << w - 1 for w in weights if w)
    depth = total.bit_length()
    rest = (1 << depth) - total
    require(rest & rest - 1 == 0, "a Huffman tree that is not full")
    weights = weights + [rest.bit_length()]
    table = []
    for weight in range(1, depth + 1):
        for symbol, w in enumerate(weights):
            if w == weight:
                table += [(symbol, depth + 1 - weight)] * (1 << weight - 1)
    require(len(table) == 1 << depth, "a Huffman tree that is not full")
    return table, depth, used


def _huffman_stream(table, depth, data, count):
    stream, out = Backward(data), bytearray()
    state = stream.read(depth)
    for _ in range(count):
        symbol, bits = table[state]
        out.append(symbol)
        state = (state << bits) % (1 << depth) + stream.read(bits)
    require(stream.left == -depth, "a Huffman stream of another length")
    return bytes(out)


class Frame:
    """One frame: what its blocks have written, and what they share."""

    def __init__(self):
        self.out, self.offsets, self.tree, self.tables = bytearray(), [1, 4, 8], None, {}

    def block(self, data):
        literals, used = self._literals(data)
        self._sequences(data[used:], literals)

    def _literals(self, data):
        kind, form = data[0] & 3, data[0] >> 2 & 3
        if kind < 2:
            size = {0: 1, 2: 1, 1: 2, 3: 3}[form]
            count = int.from_bytes(data[:size], "little") >> (3 if size == 1 else 4)
            if kind == 1:
                return data[size:size + 1] * count, size + 1
            return data[size:size + count], size + count
        size, width = {0: (3, 10), 1: (3, 10), 2: (4, 14), 3: (5, 18)}[form]
        head = int.from_bytes(data[:size], "little") >> 4
        count, packed = head & (1 << width) - 1, head >> width
        body = data[size:size + packed]
        if kind == 2:
            *self.tree, used = _huffman(body)
            body = body[used:]
        require(self.tree, "literals without a tree")
        return self._streams(body, count, form != 0), size + packed

    def _streams(self, body, count, four):
        if not four:
            return _huffman_stream(*self.tree, body, count)
        each, at, out = (count + 3) // 4, 6, b""
        sizes = [int.from_bytes(body[i:i + 2], "little") for i in (0, 2, 4)]
        for size in sizes + [len(body) - 6 - sum(sizes)]:
            out += _huffman_stream(*self.tree, body[at:at + size], min(each, count - len(out)))
            at += size
        return out

    def _table(self, name, mode, data, default):
        """The table of one kind of code, and bytes used."""
        used = 0
        if mode == 0:
            self.tables[name] = default
        elif mode == 1:
            self.tables[name], used = (0, [(data[0], 0, 0)]), 1
        elif mode == 2:
            probabilities, accuracy, used = _probabilities(data)
            self.tables[name] = accuracy, _fse(probabilities, accuracy)
        return used

    def _sequences(self, data, literals):
        count, at = data[0], 1
        if count == 255:
            count, at = int.from_bytes(data[1:3], "little") + 0x7F00, 3
        elif count >= 128:
            count, at = (count - 128 << 8) + data[1], 2
        if count == 0:
            self.out += literals
            return
        modes, at = data[at], at + 1
        for name, shift, probabilities, accuracy in (("ll", 6, LL_DEFAULT, 6), ("of", 4, OF_DEFAULT, 5), ("ml", 2, ML_DEFAULT, 6)):
            at += self._table(name, modes >> shift & 3, data[at:], (accuracy, _fse(probabilities, accuracy)))
        self._run(Backward(data[at:]), count, literals)

    def _run(self, stream, count, literals):
        names = ("ll", "of", "ml")
        tables = [self.tables[name][1] for name in names]
        states = [stream.read(self.tables[name][0]) for name in names]
        used = 0
        for left in range(count - 1, -1, -1):
            ll_code, of_code, ml_code = (table[state][0] for table, state in zip(tables, states))
            offset = (1 << of_code) + stream.read(of_code)
            match = ML_BASE[ml_code] + stream.read(ML_BITS[ml_code])
            run = LL_BASE[ll_code] + stream.read(LL_BITS[ll_code])
            if left:
                for i in (0, 2, 1):
                    _, bits, base = tables[i][states[i]]
                    states[i] = base + stream.read(bits)
            self.out += literals[used:used + run]
            used += run
            self._copy(self._offset(offset, run), match)
        require(stream.left == 0, "sequences of another length")
        self.out += literals[used:]

    def _offset(self, value, run):
        """Offsets 1 to 3 repeat earlier ones."""
        if value > 3:
            self.offsets = [value - 3, *self.offsets[:2]]
            return value - 3
        which = value - 1 + (run == 0)
        offset = self.offsets[which] if which < 3 else self.offsets[0] - 1
        if which:
            del self.offsets[min(which, 2)]
            self.offsets.insert(0, offset)
        return offset

    def _copy(self, offset, count):
        require(0 < offset <= len(self.out), "a match before the beginning")
        while count:
            part = self.out[len(self.out) - offset:][:count]
            self.out += part
            count -= len(part)


def decompress(data):
    """The content of one frame."""
    require(data[:4] == b"\x28\xb5\x2f\xfd", "no Zstandard frame")
    flags, at = data[4], 5
    require(flags & 3 == 0 and flags & 8 == 0, "a dictionary, or a reserved bit")
    single = flags >> 5 & 1
    at += 0 if single else 1
    width = [single, 2, 4, 8][flags >> 6]
    size = int.from_bytes(data[at:at + width], "little") + (256 if width == 2 else 0)
    at, frame, last = at + width, Frame(), 0
    while not last:
        head, at = int.from_bytes(data[at:at + 3], "little"), at + 3
        last, kind, count = head & 1, head >> 1 & 3, head >> 3
        stored = 1 if kind == 1 else count
        body, at = data[at:at + stored], at + stored
        require(kind < 3 and len(body) == stored, "a block that is cut off")
        if kind == 2:
            frame.block(body)
        else:
            frame.out += body * (count if kind == 1 else 1)
    require(at + (4 if flags & 4 else 0) == len(data), "bytes after the frame")
    require(width == 0 or len(frame.out) == size, "a frame of another size")
    return bytes(frame.out)
