"""Small images of every format, and damages at random: of any bytes, and of the blocks that each format is made of.

`cases` gives the same images for the same seed and versions of Pillow and NumPy.
"""

import io
import struct
import zlib

import numpy
from PIL import Image

EXIF = {"upright": 1, "turned": 6}


# ---- the undamaged images -------------------------------------------------------------------------------------------


def photo(random, width, height, bands=3):
    noise = numpy.random.default_rng(random.randrange(1 << 30)).integers(0, 24, (height, width, bands))
    ramp = numpy.linspace(0, 200, width)[None, :, None] + numpy.linspace(0, 30, height)[:, None, None]
    return numpy.clip(ramp + noise, 0, 255).astype("uint8")


def saved(image, **options):
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112], tags[0x011A], tags[0x0128] = orientation, 72.0, 2
    return tags.tobytes()


def originals(random):
    """(format, file)."""
    rgb = Image.fromarray(photo(random, 43, 30))
    gray = rgb.convert("L")
    alpha = rgb.convert("RGBA")
    alpha.putalpha(gray)
    profile = b"\0" * 36 + b"acsp" + b"\0" * 200
    for options in ({"quality": 80}, {"quality": 60, "progressive": True}, {"quality": 90, "subsampling": 0},
                    {"exif": exif(1)}, {"exif": exif(6), "progressive": True}, {"icc_profile": profile},
                    {"dpi": (72, 72), "comment": b"note"}, {"restart_marker_blocks": 2}):
        yield "jpeg", saved(rgb, format="JPEG", **options)
    yield "jpeg", saved(gray, format="JPEG")
    yield "jpeg", saved(rgb.convert("CMYK"), format="JPEG")
    palette = rgb.quantize(40)
    for image in (rgb, gray, alpha, palette, gray.convert("1"), alpha.convert("LA"), rgb.quantize(4), rgb.quantize(16),
                  Image.fromarray(photo(random, 43, 30, 1)[:, :, 0].astype("uint16") * 257)):
        yield "png", saved(image, format="PNG")
    yield "png", saved(palette, format="PNG", transparency=3)
    yield "png", saved(rgb, format="PNG", transparency=(3, 4, 5))
    yield "png", saved(rgb, format="PNG", exif=exif(1), icc_profile=profile, dpi=(72, 72))
    yield "png", saved(rgb, format="PNG", exif=exif(8))
    for color, depth in ((0, 1), (0, 2), (0, 4), (0, 16), (2, 8), (2, 16), (3, 4), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16)):
        for interlaced in (0, 1):
            yield "png", raw_png(random, color, depth, interlaced)
    for options in ({}, {"lossless": True}, {"exif": exif(1)}, {"exif": exif(6), "lossless": True},
                    {"icc_profile": profile}):
        yield "webp", saved(rgb, format="WEBP", **options)
    yield "webp", saved(alpha, format="WEBP")
    yield "webp", saved(alpha, format="WEBP", lossless=True)
    yield "webp", saved(Image.fromarray(photo(random, 97, 70)), format="WEBP", quality=95)
    yield "gif", saved(palette, format="GIF")
    yield "gif", saved(palette, format="GIF", interlace=0, comment=b"note")
    yield "gif", saved(palette, format="GIF", transparency=2)
    yield "gif", saved(gray, format="GIF")
    yield "gif", saved(gray.convert("1"), format="GIF")
    yield "gif", small_frame(saved(palette, format="GIF"))
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield "tiff", saved(rgb, format="TIFF", compression=compression)
        yield "tiff", saved(gray, format="TIFF", compression=compression)
    yield "tiff", saved(alpha, format="TIFF")
    yield "tiff", saved(palette, format="TIFF")
    yield "tiff", saved(rgb.convert("CMYK"), format="TIFF")
    for compression in ("raw", "tiff_lzw"):
        yield "tiff", saved(rgb.convert("YCbCr"), format="TIFF", compression=compression)
    yield "tiff", saved(gray.convert("1"), format="TIFF", compression="group4")
    yield "tiff", saved(rgb, format="TIFF", exif=exif(6))
    for image in (rgb, gray, palette, gray.convert("1"), alpha):
        yield "bmp", saved(image, format="BMP")
    yield "bmp", runs_bmp()
    for masks in ((0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)):
        yield "bmp", masked_bmp(random, masks)


def raw_png(random, color, depth, interlaced):
    """Any color type at any depth; all rows unfiltered noise."""
    width, height = 21, 18
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]

    def lines(columns, rows):
        line = (columns * channels * depth + 7) // 8
        return b"".join(b"\0" + random.randbytes(line) for _ in range(rows)) if columns and rows else b""

    if interlaced:
        passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        rows = b"".join(lines(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes)
    else:
        rows = lines(width, height)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))]
    if color == 3:
        parts.append((b"PLTE", random.randbytes(3 << min(depth, 8))))
    return png_file(parts + [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def small_frame(gif):
    """A frame that does not fill its screen."""
    return gif[:6] + struct.pack("<HH", 60, 50) + gif[10:]


def runs_bmp():
    data = b"\x15\x01\x00\x03\x02\x03\x04\x00\x00\x00" + b"\x05\x02\x10\x01\x00\x00" + b"\x00\x02\x03\x01\x04\x05" + b"\x00\x01"
    palette = b"".join(struct.pack("<BBBB", value * 9 % 256, value, 255 - value, 0) for value in range(256))
    info = struct.pack("<IiiHHIIiiII", 40, 21, 5, 1, 8, 1, len(data), 0, 0, 256, 0)
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + palette + data


def masked_bmp(random, masks):
    width, height = 11, 7
    data = b"".join(random.randbytes(2 * width) + b"\0\0" for _ in range(height))
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 16, 3, len(data), 0, 0, 0, 0) + struct.pack("<III", *masks)
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(data), 0, 0, 14 + len(info)) + info + data


def is_jpeg_tiff(data):
    return b"JFIF" in data or b"\xff\xd8\xff" in data


# ---- any bytes ------------------------------------------------------------------------------------------------------


def place(random, data):
    """Half of the damages are in the first bytes, where the headers are."""
    return random.randrange(min(len(data), 120) if random.random() < 0.5 else len(data))


def flip_bit(random, data):
    at = place(random, data)
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1:]


def set_byte(random, data):
    at = place(random, data)
    return data[:at] + bytes([random.choice((0, 1, 2, 3, 127, 128, 254, 255, random.randrange(256)))]) + data[at + 1:]


def truncate(random, data):
    return data[:-random.randrange(1, 40)] if random.random() < 0.6 else data[:random.randrange(12, len(data))]


def remove_bytes(random, data):
    at = place(random, data)
    return data[:at] + data[at + random.randrange(1, 9):]


def insert_bytes(random, data):
    at = place(random, data)
    return data[:at] + random.choice((random.randbytes(random.randrange(1, 9)), b"\xff" * 3, b"\0")) + data[at:]


def trail(random, data):
    return data + random.choice((b"\0", b"\n", random.randbytes(random.randrange(1, 300)), data, b"\xff\xd9", b"\0" * 7))


def repeat(random, data):
    at, length = place(random, data), random.randrange(1, 40)
    return data[:at] + data[at:at + length] + data[at:]


def zero(random, data):
    at, length = place(random, data), random.randrange(2, 30)
    return data[:at] + bytes(len(data[at:at + length])) + data[at + length:]


ANY = (flip_bit, set_byte, set_byte, truncate, remove_bytes, insert_bytes, trail, repeat, zero)


def tags(random, big=None):
    """A TIFF directory of a few tags, some of them odd."""
    order = ">" if (random.random() < 0.5 if big is None else big) else "<"
    entries = b""
    count = random.randrange(0, 5)
    for _ in range(count):
        tag = random.choice((0x0112, 0x0112, 0x011A, 0x0128, 0x8769, 0x8825, 0x0100, random.randrange(1 << 16)))
        kind = random.choice((1, 2, 3, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 0, 99))
        value = random.choice((struct.pack(order + "I", random.choice((1, 6, 30, 1 << 31))),
                               struct.pack(order + "HH", random.choice((1, 3, 6, 8, 9)), 0), random.randbytes(4)))
        entries += struct.pack(order + "HHI", tag, kind, random.choice((0, 1, 1, 1, 2, 9, 1 << 30))) + value
    head = (b"MM\0*" if order == ">" else b"II*\0") if random.random() < 0.85 else random.randbytes(4)
    block = head + struct.pack(order + "I", random.choice((8, 8, 8, 8, 8, 0, 9, 500)))
    block += struct.pack(order + "H", count + random.choice((0, 0, 0, 1, 7))) + entries + bytes(4)
    return block if random.random() < 0.8 else block[:random.randrange(len(block))]


def xmp(random):
    value = random.choice(('tiff:Orientation="6"', "<tiff:Orientation>3</tiff:Orientation>", 'tiff:Orientation="x"', ""))
    return f"<x:xmpmeta {value}/>".encode() + random.choice((b"", b"\0", b"\xff"))


# ---- PNG ------------------------------------------------------------------------------------------------------------


def chunk(name, body, wrong=0):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body) ^ wrong)


def png_file(parts):
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def png_parts(data):
    at, parts = 8, []
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        parts.append((data[at + 4:at + 8], data[at + 8:at + 8 + length]))
        at += 12 + length
    return parts


def profile_text(random, block):
    """A profile as ImageMagick writes it."""
    digits = block.hex()
    lines = "\n".join(digits[at:at + 72] for at in range(0, len(digits), 72))
    if random.random() < 0.2:
        lines = lines[:-1] + random.choice(("", "g", " "))
    return f"\nexif\n{len(block):8}\n{lines}\n".encode()


# Pillow inflates at most 1 MiB of text.
BOMBS = [zlib.compress(bytes((1 << 20) + more)) for more in (-1, 0, 1, 70_000)]


def ancillary(random):
    packed = random.choice((zlib.compress(b"text"), random.choice(BOMBS), b"", b"\x78", random.randbytes(20)))
    short = random.randbytes(random.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 25, 26, 31, 32)))
    key = random.choice((b"Comment", b"", b"XML:com.adobe.xmp", b"exif", b"k\xe9y"))
    block = random.choice((b"", b"Exif\0\0")) + tags(random)
    profile = profile_text(random, block)
    frame = struct.pack(">IIIIIHHBB", random.choice((0, 0, 1)), random.choice((43, 21, 5, 99)), random.choice((30, 18, 5)),
                        random.choice((0, 0, 1)), 0, 1, 10, 0, 0)
    return random.choice((
        (b"iTXt", key + b"\0" + random.choice((b"\1\0", b"\0\0", b"\1\1", b"\1")) + b"en\0k\0" + random.choice((packed, xmp(random)))),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(random)),
        (b"zTXt", key + b"\0" + random.choice((b"\0", b"\0", b"\1")) + packed),
        (b"zTXt", random.choice((b"key", b"key\0", b""))),
        (b"tEXt", random.choice((key + b"\0text", b"", b"\0", b"key"))),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)),
        (b"tEXt", b"Raw profile type exif\0" + profile),
        (b"iTXt", b"Raw profile type exif\0\0\0\0\0" + profile),
        (b"iCCP", random.choice((b"name\0\0", b"name\0\1", b"name\0", b"", b"name", b"\0")) + packed),
        (random.choice((b"sRGB", b"gAMA", b"cHRM", b"pHYs", b"tRNS", b"bKGD", b"tIME", b"sBIT", b"hIST", b"acTL", b"fcTL", b"fdAT",
                        b"PLTE", b"IHDR", b"IDAT", b"IEND", b"DDAT", b"abcd", b"ABCD", b"a-cd", b"_0Ab")), short),
        (b"eXIf", block),
        (b"acTL", struct.pack(">II", random.choice((0, 1, 1, 2, 1 << 31)), 0)),
        (b"fcTL", frame),
        (b"fdAT", struct.pack(">I", random.choice((0, 1, 2))) + short),
    ))


def damage_png(random, data):
    parts = png_parts(data)
    pick = random.randrange(len(parts))
    name, body = parts[pick][:2]
    how = random.choice(("checksum", "ancillary", "ancillary", "ancillary", "shorten", "drop", "double", "swap", "split",
                         "stream", "header", "length", "name", "behind", "end"))
    if how == "checksum":
        parts[pick] = (name, body, 1 << random.randrange(32))
    elif how == "ancillary":
        for _ in range(random.choice((1, 1, 2, 3))):
            parts.insert(random.randrange(1, len(parts)), ancillary(random) + random.choice(((), (), (), (1,))))
    elif how == "shorten":
        parts[pick] = (name, body[:random.randrange(len(body) + 1)])
    elif how == "drop":
        del parts[pick]
    elif how == "double":
        parts.insert(pick, parts[pick])
    elif how == "swap":
        other = random.randrange(len(parts))
        parts[pick], parts[other] = parts[other], parts[pick]
    elif how == "split":
        at = next((index for index, part in enumerate(parts) if part[0] == b"IDAT"), None)
        body = parts[at][1]
        cut = random.randrange(len(body) + 1)
        between = [ancillary(random)] if random.random() < 0.5 else []
        parts[at:at + 1] = [(b"IDAT", body[:cut])] + between + [(b"IDAT", body[cut:])]
    elif how == "stream":
        at = next(index for index, part in enumerate(parts) if part[0] == b"IDAT")
        body = parts[at][1]
        parts[at] = (b"IDAT", random.choice((body[:-4] + random.randbytes(4), body[:-random.randrange(1, 12)], body + b"junk",
                                             flip_bit(random, body), body[:-1], b"\x78\x9c" + body[2:])))
    elif how == "header":
        body = bytearray(parts[0][1])
        at = random.choice((3, 7, 8, 8, 9, 10, 11, 12, 12))
        body[at] = random.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 255))
        parts[0] = (parts[0][0], bytes(body))
    elif how == "name":
        letter = random.randrange(4)
        other = bytes([name[letter] ^ 32]) if random.random() < 0.7 else random.randbytes(1)
        parts[pick] = (name[:letter] + other + name[letter + 1:], body)
    elif how == "behind":
        parts.append(ancillary(random))
    file = png_file(parts)
    if how == "length":
        start = 8 + sum(12 + len(part[1]) for part in parts[:pick])
        length = max(0, len(body) + random.choice((-4, -1, 1, 4, 1 << 16, 1 << 31)))
        file = file[:start] + struct.pack(">I", length & 0xFFFFFFFF) + file[start + 4:]
    elif how == "end":
        file = file[:-random.randrange(1, 14)]
    return how, file


# ---- JPEG -----------------------------------------------------------------------------------------------------------


def jpeg_parts(data):
    """Segments before the first scan, and the rest."""
    at, parts = 2, []
    while data[at + 1] != 0xDA:
        length = struct.unpack_from(">H", data, at + 2)[0]
        parts.append((data[at + 1], data[at + 4:at + 2 + length]))
        at += 2 + length
    return parts, data[at:]


def segment(marker, body):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def pages(random):
    order = random.choice("<>")
    count = random.choice((1, 2, 2, 3))
    body = b"".join(struct.pack(order + "LLLHH", random.choice((0, 0, 1 << 25)) | 0x030000, 99, 99, 0, 0) for _ in range(count))
    declared = random.choice((count, count, count, count + 1, 0, 1 << 20))
    entries = struct.pack(order + "HHIHH", 0xB001, random.choice((4, 4, 4, 3, 7)), 1, *(declared & 0xFFFF, 0)[::1 if order == "<" else -1])
    entries += struct.pack(order + "HHII", 0xB002, random.choice((7, 7, 7, 1, 4)), len(body), 8 + 2 + 24 + 4)
    head = b"MM\0*" if order == ">" else b"II*\0"
    block = head + struct.pack(order + "IH", 8, 2) + entries + bytes(4) + body
    return b"MPF\0" + (block if random.random() < 0.7 else block[:random.randrange(len(block))])


def application(random):
    block = b"8BIM" + struct.pack(">H", random.choice((0x3ED, 0x404))) + b"\0\0" + struct.pack(">I", 4) + b"abcd"
    cut = random.randrange(16)
    return random.choice((
        (0xE0, b"JFIF\0\1\2\1\0\x48\0\x48\0\0"[:cut]),
        (0xEE, b"Adobe\0\x64\0\0\0\0\1"[:random.randrange(13)]),
        (0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([random.randrange(4)])),
        (0xED, b"Photoshop 3.0\0" + (block * 3)[:random.randrange(len(block) * 3 + 1)]),
        (0xE2, b"ICC_PROFILE\0" + b"\1\1profile"[:random.randrange(9)]),
        (0xE2, pages(random)),
        (0xE1, b"Exif\0\0" + tags(random)),
        (0xE1, b"Exif\0\0" + tags(random)),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(random)),
        (0xE1, random.choice((b"", b"E", b"Exif", b"Exif\0", b"Exif\0\0"))),
        (0xE2, b"FPXR\0"),
        (0xFE, random.randbytes(cut)),
        (random.choice((0xDD, 0xDC, 0xC4, 0xDB, 0xC0, 0xCC, 0xDE, 0xDF, 0xF0, 0xFD, 0xE5)), random.randbytes(random.choice((0, 1, 2, 5, 15)))),
    ))


def damage_jpeg(random, data):
    parts, rest = jpeg_parts(data)
    pick = random.randrange(len(parts))
    marker, body = parts[pick]
    how = random.choice(("application", "application", "application", "shorten", "drop", "double", "swap", "length", "between",
                         "field", "scan", "marker", "second"))
    built = [segment(*part) for part in parts]
    if how == "application":
        for _ in range(random.choice((1, 1, 2))):
            built.insert(random.randrange(len(built) + 1), segment(*application(random)))
    elif how == "shorten":
        built[pick] = segment(marker, body[:random.randrange(len(body) + 1)])
    elif how == "drop":
        del built[pick]
    elif how == "double":
        built.insert(pick, built[random.randrange(len(built))])
    elif how == "swap":
        other = random.randrange(len(built))
        built[pick], built[other] = built[other], built[pick]
    elif how == "length":
        length = max(0, len(body) + 2 + random.choice((-3, -2, -1, 1, 2, 9, -len(body) - 1, -len(body) - 2)))
        built[pick] = b"\xff" + bytes([marker]) + struct.pack(">H", length) + body
    elif how == "between":
        junk = random.choice((b"\0", b"junk", b"\xff", b"\xff\xff\xff", b"\xff\0", b"\xff\1", b"\xff\x02", b"\xff\xbf", b"\xff\xd0",
                              b"\xff\xd8", b"\xff\xd9", random.randbytes(5)))
        built.insert(random.randrange(len(built) + 1), junk)
    elif how == "field":
        changed = bytearray(body or b"\0")
        changed[random.randrange(min(len(changed), 20))] = random.choice((0, 1, 2, 3, 4, 8, 12, 17, 255, random.randrange(256)))
        built[pick] = segment(marker, bytes(changed))
    elif how == "marker":
        built[pick] = segment(random.randrange(0xC0, 0xFF), body)
    elif how == "scan":
        changed = bytearray(rest)
        for _ in range(random.choice((1, 1, 2))):
            changed[random.randrange(min(len(changed), 16) if random.random() < 0.5 else len(changed))] = random.randrange(256)
        rest = bytes(changed)
    elif how == "second":
        rest = rest[:-2] + random.choice((segment(*application(random)), b"\xff\xd0", b"\0\0", b"\xff\xd9" + data, b"\xff\xd8")) + rest[-2:]
    return how, b"\xff\xd8" + b"".join(built) + rest


# ---- WebP -----------------------------------------------------------------------------------------------------------


def webp_parts(data):
    at, parts = 12, []
    while at + 8 <= len(data):
        length = struct.unpack_from("<I", data, at + 4)[0]
        parts.append((data[at:at + 4], data[at + 8:at + 8 + length]))
        at += 8 + length + length % 2
    return parts


def webp_chunk(name, body):
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def damage_webp(random, data):
    parts = webp_parts(data)
    pick = random.randrange(len(parts))
    name, body = parts[pick]
    how = random.choice(("riff", "riff", "chunk", "drop", "double", "swap", "flags", "length", "bitstream", "bitstream", "cut",
                         "extend", "shorten"))
    built = [webp_chunk(*part) for part in parts]
    change = 0
    if how == "riff":
        change = random.choice((-9, -8, -4, -2, -1, 1, 2, 4, 8, 100, 1 << 20))
    elif how == "chunk":
        extra = random.choice(((b"EXIF", random.choice((b"", b"Exif\0\0")) + tags(random)), (b"XMP ", xmp(random)), (b"ICCP", b"profile"),
                               (b"ABCD", random.randbytes(5)), (b"ALPH", random.randbytes(9)), (b"ANIM", bytes(6)),
                               (b"ANMF", bytes(16)), (b"VP8X", bytes(10)), (b"", b"")))
        built.insert(random.randrange(len(built) + 1), webp_chunk(*extra) if extra[0] else random.randbytes(random.randrange(1, 9)))
    elif how == "drop":
        del built[pick]
    elif how == "double":
        built.insert(pick, built[pick])
    elif how == "swap":
        other = random.randrange(len(built))
        built[pick], built[other] = built[other], built[pick]
    elif how == "flags":
        changed = bytearray(parts[0][1])
        changed[random.randrange(10)] ^= 1 << random.randrange(8)
        built[0] = webp_chunk(parts[0][0], bytes(changed))
    elif how == "length":
        built[pick] = name + struct.pack("<I", max(0, len(body) + random.choice((-2, -1, 1, 2, 100)))) + built[pick][8:]
    elif how == "bitstream":
        at = next((index for index, part in enumerate(parts) if part[0][:3] == b"VP8" and part[0] != b"VP8X"), pick)
        changed = bytearray(parts[at][1])
        for _ in range(random.choice((1, 1, 3))):
            changed[random.randrange(min(len(changed), 30) if random.random() < 0.6 else len(changed))] = random.randrange(256)
        built[at] = webp_chunk(parts[at][0], bytes(changed))
    elif how == "cut":
        built[pick] = webp_chunk(name, body[:random.randrange(len(body) + 1)])
    elif how == "shorten":
        built[pick] = webp_chunk(name, body[:-random.randrange(1, 6)])
    elif how == "extend":
        if parts[0][0] != b"VP8X":
            flags = random.choice((0, 8, 4, 32, 16, 44))
            size = random.choice(((43, 30), (43, 30), (97, 70), (42, 30)))
            built.insert(0, webp_chunk(b"VP8X", struct.pack("<IHBHB", flags, size[0] - 1, 0, size[1] - 1, 0)))
            built.append(webp_chunk(b"EXIF", tags(random)))
    content = b"WEBP" + b"".join(built)
    return how, b"RIFF" + struct.pack("<I", max(0, len(content) + change)) + content


# ---- GIF ------------------------------------------------------------------------------------------------------------


def gif_frame(data):
    """Where the first frame and its data start, and where the trailer is."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    while data[at] == 0x21:
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    start = at + 10 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 128 else 0)
    return at, start


def blocks(data):
    return b"".join(bytes([len(data[at:at + 255])]) + data[at:at + 255] for at in range(0, len(data), 255)) + b"\0"


def damage_gif(random, data):
    at, start = gif_frame(data)
    how = random.choice(("extension", "extension", "frame", "screen", "code", "block", "trailer", "second", "stray", "table"))
    if how == "extension":
        label = random.choice((0xF9, 0xF9, 0xFE, 0xFF, 0x01, 0x00))
        body = random.choice((b"", b"\0" * 4, b"\1\0\0\2", b"\1", b"\1\0\0", b"\1\0", random.randbytes(6), b"NETSCAPE2.0"))
        extra = random.choice((b"\0", b"\3\1\0\0\0", b"", b"\1\1\0"))
        block = b"!" + bytes([label]) + (bytes([len(body)]) + body if body else b"") + extra
        data = data[:at] + block + data[at:]
    elif how == "frame":
        field = at + 1 + 2 * random.randrange(4)
        data = data[:field] + struct.pack("<H", random.choice((0, 1, 5, 29, 43, 44, 200))) + data[field + 2:]
    elif how == "screen":
        field = random.choice((6, 8))
        data = data[:field] + struct.pack("<H", random.choice((0, 1, 20, 42, 100))) + data[field + 2:]
    elif how == "code":
        data = data[:start] + bytes([random.choice((0, 1, 2, 7, 9, 11, 12, 13, 255))]) + data[start + 1:]
    elif how == "block":
        at = start + 1 + random.randrange(len(data) - start - 1)
        data = data[:at] + random.randbytes(1) + data[at + 1:]
    elif how == "trailer":
        data = random.choice((data[:-1], data[:-2], data[:-3], data[:-1] + b"\0", data[:-1] + b";;", data[:-1] + b"x"))
    elif how == "second":
        data = data[:-1] + data[at:]
    elif how == "stray":
        data = data[:at] + random.choice((b"\0", b"x", b"\0\0\0", b";")) + data[at:]
    elif how == "table":
        flags = data[at + 9] ^ random.choice((0x80, 0x40, 1, 7))
        data = data[:at + 9] + bytes([flags]) + data[at + 10:]
    return how, data


# ---- TIFF and BMP ---------------------------------------------------------------------------------------------------


def damage_tiff(random, data):
    directory = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, directory)[0]
    at = directory + 2 + 12 * random.randrange(count)
    how = random.choice(("tag", "kind", "count", "value", "value", "value", "next"))
    if how == "next":
        end = directory + 2 + 12 * count
        return how, data[:end] + struct.pack("<I", random.choice((8, directory, 1 << 31))) + data[end + 4:]
    place, size = {"tag": (0, 2), "kind": (2, 2), "count": (4, 4), "value": (8, 4)}[how]
    value = random.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 100, 1 << 15)) if random.random() < 0.8 else random.randrange(1 << 8 * size)
    return how, data[:at + place] + value.to_bytes(size, "little") + data[at + place + size:]


def damage_bmp(random, data):
    field, size, values = random.choice(((2, 4, (0, 10, 1 << 20)), (10, 4, (0, 14, 54, 55, 1078, 5000)), (14, 4, (12, 40, 52, 56, 64, 108, 124)),
                                         (18, 4, (0, 1, 20, 42, 44, -1 & 0xFFFFFFFF)), (22, 4, (0, 1, 29, 31, -30 & 0xFFFFFFFF, -1 & 0xFFFFFFFF)),
                                         (26, 2, (0, 2)), (28, 2, (0, 1, 2, 4, 8, 16, 24, 32)), (30, 4, (0, 1, 2, 3, 4, 5, 6)),
                                         (34, 4, (0, 10)), (46, 4, (0, 1, 2, 255, 256, 257, 70000)), (54, 4, (0, 0x7C00, 0xFF0000))))
    return f"field {field}", data[:field] + random.choice(values).to_bytes(size, "little") + data[field + size:]


OWN = {"jpeg": damage_jpeg, "png": damage_png, "webp": damage_webp, "gif": damage_gif, "tiff": damage_tiff, "bmp": damage_bmp}
# PNG and JPEG have the most rules.
SHARES = {"png": 7, "jpeg": 6, "webp": 5, "gif": 3, "tiff": 2, "bmp": 2}


def damaged(random, kind, data):
    """(what was done, file)."""
    try:
        if random.random() < 0.65:
            how, data = OWN[kind](random, data)
            return how, data if random.random() < 0.95 else trail(random, data)
    except (IndexError, struct.error):
        pass  # the blocks of this file do not lend themselves to it
    damage = random.choice(ANY)
    for _ in range(random.choice((1, 1, 1, 2))):
        data = damage(random, data)
    return damage.__name__, data


def cases(random, count):
    """(format, what was done, file), all different."""
    files = {kind: [] for kind in OWN}
    for kind, data in originals(random):
        files[kind].append(data)
    found, seen = [], set()
    for kind, originals_of_kind in files.items():
        for data in originals_of_kind:
            found.append((kind, "undamaged", data))
            seen.add(data)
    kinds, weights = list(SHARES), list(SHARES.values())
    while len(found) < count:
        kind = random.choices(kinds, weights)[0]
        how, data = damaged(random, kind, random.choice(files[kind]))
        if data not in seen and len(data) >= 12:
            seen.add(data)
            found.append((kind, how, data))
    return found
