#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Unpacks the ELF kernel out of a bzImage: unpack_kernel.py VMLINUZ VMLINUX.

The setup header says where the packed kernel lies (payload_offset and payload_length, [BOOT-6.1 "Details of Header
Fields"]); its first bytes say how it is packed, and its last four are the unpacked length for every packer but gzip.
"""
import bz2
import gzip
import lzma
import os
import struct
import subprocess
import sys

SECTOR = 512
HEADER_MAGIC = b"HdrS"
FIRST_VERSION_WITH_PAYLOAD = 0x0208


def by_program(*words):
    """A packer that Python's library lacks: the program reads standard input, and may complain of what follows the end."""
    def unpack(packed):
        return subprocess.run(words, input=packed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    return unpack


def first_stream(decompressor):
    """Unpacks up to the end of the stream and leaves what follows it."""
    return lambda packed: decompressor().decompress(packed)


PACKERS = (
    (b"\x1f\x8b", lambda packed: gzip.decompress(packed)),
    (b"\xfd7zXZ\x00", first_stream(lzma.LZMADecompressor)),
    (b"BZh", first_stream(bz2.BZ2Decompressor)),
    (b"\x5d\x00\x00", first_stream(lzma.LZMADecompressor)),
    (b"\x02\x21\x4c\x18", by_program("lz4", "--decompress", "--stdout", "-")),
    (b"\x28\xb5\x2f\xfd", by_program("zstd", "--decompress", "--stdout", "--quiet", "-")),
)


def payload_of(image):
    if len(image) < 0x250 or image[0x202:0x206] != HEADER_MAGIC:
        raise ValueError("is not a bzImage")
    if struct.unpack_from("<H", image, 0x206)[0] < FIRST_VERSION_WITH_PAYLOAD:
        raise ValueError("has a boot protocol that does not tell where the kernel is")
    sectors = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    begin = (sectors + 1) * SECTOR + offset
    if length < 8 or begin + length > len(image):
        raise ValueError("ends before its payload does")
    return image[begin:begin + length]


def unpack(image):
    payload = payload_of(image)
    for magic, unpacker in PACKERS:
        if payload.startswith(magic):
            length = struct.unpack("<I", payload[-4:])[0]
            kernel = unpacker(payload if magic == b"\x1f\x8b" else payload[:-4])
            if len(kernel) != length:
                raise ValueError(f"unpacks to {len(kernel)} bytes, not {length}")
            if not kernel.startswith(b"\x7fELF"):
                raise ValueError("holds no ELF file")
            return kernel
    raise ValueError("is packed in a way that is not known: " + payload[:6].hex())


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: unpack_kernel.py VMLINUZ VMLINUX")
    source, target = sys.argv[1:]
    try:
        with open(source, "rb") as file:
            kernel = unpack(file.read())
        with open(target + ".new", "wb") as file:
            file.write(kernel)
        os.replace(target + ".new", target)
    except (OSError, EOFError, ValueError, lzma.LZMAError) as problem:
        sys.exit(f"unpack_kernel.py: {source}: {problem}")


if __name__ == "__main__":
    main()
