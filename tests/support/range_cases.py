"""Range fields and what they select: the cases of RFC 9110 section 14."""

from __future__ import annotations

import re

from gateway.http.ranges import MAX_PARTS, UNSATISFIABLE, Span, Spans

HUGE = "9" * 5000
LONG_ZEROS = "0" * 5000


def spans(*pairs: tuple[int, int]) -> Spans:
    """Spans from (first, last) as the RFC writes them, both included."""
    return tuple(Span(first, last + 1) for first, last in pairs)


def apart(count: int, step: int = 2) -> str:
    """A field that asks for so many single bytes, `step` bytes from each other."""
    return "bytes=" + ",".join(f"{step * n}-{step * n}" for n in range(count))


MOST_PARTS = spans(*((2 * n, 2 * n) for n in range(MAX_PARTS)))
CASES = [
    # the RFC's own examples, a file of 10000 bytes
    ("14.1.2 first 500 bytes", "bytes=0-499", 10000, spans((0, 499))),
    ("14.1.2 second 500 bytes", "bytes=500-999", 10000, spans((500, 999))),
    ("14.1.2 final 500 bytes, suffix", "bytes=-500", 10000, spans((9500, 9999))),
    ("14.1.2 final 500 bytes, open end", "bytes=9500-", 10000, spans((9500, 9999))),
    ("14.1.2 first and last byte", "bytes=0-0,-1", 10000, spans((0, 0), (9999, 9999))),
    (
        "14.1.2 first, middle and last 1000",
        "bytes= 0-999, 4500-5499, -1000",
        10000,
        spans((0, 999), (4500, 5499), (9000, 9999)),
    ),
    ("14.1.2 second 500 in two, touching", "bytes=500-600,601-999", 10000, spans((500, 999))),
    ("14.1.2 second 500 in two, overlapping", "bytes=500-700,601-999", 10000, spans((500, 999))),
    # 14.1 the unit
    ("14.1 unit in upper case", "BYTES=0-1", 10, spans((0, 1))),
    ("14.1 unit in mixed case, set", "Bytes=0-1,5-6", 10, spans((0, 1), (5, 6))),
    ("14.1 long s is not an s", "byte\u017f=0-1", 10, None),
    ("14.2 another unit is ignored", "seconds=0-1", 10, None),
    ("14.2 unit with a common start", "bytesx=0-1", 10, None),
    ("14.2 unit is empty", "=0-1", 10, None),
    ("14.2 no unit", "0-1", 10, None),
    ("14.2 empty field", "", 10, None),
    ("14.2 unit alone", "bytes", 10, None),
    # 14.1.1 the grammar
    ("14.1.1 empty set", "bytes=", 10, None),
    ("14.1.1 dash alone", "bytes=-", 10, None),
    ("14.1.1 number alone", "bytes=5", 10, None),
    ("14.1.1 word", "bytes=abc", 10, None),
    ("14.1.1 three numbers", "bytes=1-2-3", 10, None),
    ("14.1.1 two dashes", "bytes=--1", 10, None),
    ("14.1.1 plus", "bytes=+1-2", 10, None),
    ("14.1.1 minus in LAST", "bytes=1--2", 10, None),
    ("14.1.1 underscore", "bytes=1_0-20", 100, None),
    ("14.1.1 hexadecimal", "bytes=0x1-5", 100, None),
    ("14.1.1 decimal point", "bytes=0.5-5", 100, None),
    ("14.1.1 Arabic digits", "bytes=\u0660-\u0661", 10, None),
    ("14.1.1 superscript digit", "bytes=\u00b2-3", 10, None),
    ("14.1.1 space before =", "bytes =0-1", 10, None),
    ("14.1.1 space after =, in a list", "bytes= 0-1,4-5", 10, spans((0, 1), (4, 5))),
    ("14.1.1 space after =, a lone range", "bytes= 0-1", 10, None),
    ("14.1.1 space around the dash", "bytes=0 - 1", 10, None),
    ("14.1.1 space in a number", "bytes=1 0-20", 100, None),
    ("14.1.1 line feed at the end", "bytes=0-1\n", 10, None),
    ("14.1.1 line feed in a set", "bytes=0-1,\n3-4", 10, None),
    ("14.1.1 no-break space", "bytes=0-1,\u00a03-4", 10, None),
    ("14.1.1 semicolon", "bytes=0-1;3-4", 10, None),
    ("14.1.1 unit twice", "bytes=0-1,bytes=3-4", 10, None),
    ("14.1.1 LAST before FIRST", "bytes=5-4", 10, None),
    ("14.1.1 LAST before FIRST, past the end", "bytes=50-40", 10, None),
    ("14.1.1 LAST before FIRST spoils the set", "bytes=0-1,5-4", 10, None),
    ("14.1.1 garbage spoils the set", "bytes=0-1,x", 10, None),
    ("14.1.1 garbage after an unsatisfiable one", "bytes=50-,x", 10, None),
    # 5.6.1 lists
    ("5.6.1 spaces and tabs around commas", "bytes=0-0 ,\t2-2 \t, 4-4", 10, spans((0, 0), (2, 2), (4, 4))),
    ("5.6.1 empty elements", "bytes=,0-0,, ,2-2,", 10, spans((0, 0), (2, 2))),
    ("5.6.1 empty elements only", "bytes=, ,", 10, None),
    # 14.1.2 what a range selects
    ("14.1.2 whole file", "bytes=0-9", 10, spans((0, 9))),
    ("14.1.2 open end from 0", "bytes=0-", 10, spans((0, 9))),
    ("14.1.2 last byte", "bytes=9-9", 10, spans((9, 9))),
    ("14.1.2 LAST beyond the end is clamped", "bytes=5-10", 10, spans((5, 9))),
    ("14.1.2 suffix of the file's length", "bytes=-10", 10, spans((0, 9))),
    ("14.1.2 suffix longer than the file", "bytes=-11", 10, spans((0, 9))),
    ("14.1.2 FIRST at the end", "bytes=10-", 10, UNSATISFIABLE),
    ("14.1.2 FIRST at the end, with LAST", "bytes=10-20", 10, UNSATISFIABLE),
    ("14.1.2 FIRST past the end", "bytes=11-11", 10, UNSATISFIABLE),
    ("14.1.2 suffix of nothing", "bytes=-0", 10, UNSATISFIABLE),
    ("14.1.2 suffix of nothing, many zeros", "bytes=-" + LONG_ZEROS, 10, UNSATISFIABLE),
    ("14.1.2 none satisfiable", "bytes=10-,-0,20-30", 10, UNSATISFIABLE),
    ("14.1.2 unsatisfiable ones are dropped", "bytes=10-,2-3,-0", 10, spans((2, 3))),
    ("14.1.2 one byte file", "bytes=0-0", 1, spans((0, 0))),
    # 14.2 nothing to select from
    ("14.2 empty file, open end", "bytes=0-", 0, None),
    ("14.2 empty file, first byte", "bytes=0-0", 0, None),
    ("14.2 empty file, first mebibyte", "bytes=0-1048575", 0, None),
    ("14.2 empty file, past the end", "bytes=5-", 0, None),
    ("14.2 empty file, several ranges", "bytes=0-0,2-3", 0, None),
    ("14.2 empty file, huge FIRST", f"bytes={HUGE}-", 0, None),
    ("14.2 empty file, not a range", "bytes=x", 0, None),
    ("14.2 empty file, suffix", "bytes=-5", 0, None),
    ("14.2 empty file, suffix of nothing", "bytes=-0", 0, None),
    ("14.2 empty file, one of several is a suffix", "bytes=0-1,-5", 0, None),
    # numbers of any length
    ("14.1.1 leading zeros", "bytes=0001-0002", 10, spans((1, 2))),
    ("14.1.1 very many leading zeros", f"bytes={LONG_ZEROS}1-{LONG_ZEROS}2", 10, spans((1, 2))),
    ("14.1.1 huge LAST", f"bytes=1-{HUGE}", 10, spans((1, 9))),
    ("14.1.1 huge FIRST", f"bytes={HUGE}-", 10, UNSATISFIABLE),
    ("14.1.1 huge suffix", f"bytes=-{HUGE}", 10, spans((0, 9))),
    ("14.1.1 huge, LAST before FIRST", f"bytes=1{HUGE}-{HUGE}", 10, None),
    ("14.1.1 huge, FIRST before LAST", f"bytes={HUGE}-1{HUGE}", 10, UNSATISFIABLE),
    ("14.1.1 huge, both the same", f"bytes={HUGE}-{HUGE}", 10, UNSATISFIABLE),
    ("14.1.1 huge FIRST, small LAST", f"bytes={HUGE}-5", 10, None),
    ("14.1.1 18 digits", f"bytes=0-{'9' * 18}", 10, spans((0, 9))),
    ("14.1.1 19 digits", f"bytes=0-{'9' * 19}", 10, spans((0, 9))),
    ("14.1.1 same beyond, 19 digits", f"bytes={'9' * 19}-{'9' * 18}8", 10, None),
    ("4 TiB file", "bytes=4398046511103-", 1 << 42, spans((4398046511103, 4398046511103))),
    # 15.3.7.2 several parts
    ("15.3.7.2 order asked for", "bytes=8-8,0-0,4-4", 10, spans((8, 8), (0, 0), (4, 4))),
    ("15.3.7.2 suffix first", "bytes=-1,0-0", 10, spans((9, 9), (0, 0))),
    ("15.3.7.2 a merged one stands first", "bytes=8-8,3-4,0-1,5-5", 10, spans((8, 8), (3, 5), (0, 1))),
    ("15.3.7.2 merged backwards", "bytes=5-6,3-4", 10, spans((3, 6))),
    ("15.3.7.2 merged by a third", "bytes=0-1,4-5,2-3", 10, spans((0, 5))),
    ("15.3.7.2 inside another", "bytes=0-5,2-3", 10, spans((0, 5))),
    ("15.3.7.2 the same twice", "bytes=2-3,2-3", 10, spans((2, 3))),
    ("15.3.7.2 a byte apart stays apart", "bytes=0-1,3-4", 10, spans((0, 1), (3, 4))),
    # 14.2 attacks
    ("14.2 sum equal to the file", "bytes=0-4,0-4", 10, spans((0, 4))),
    ("14.2 sum more than the file", "bytes=0-4,0-5", 10, None),
    ("14.2 whole file twice", "bytes=0-,0-", 10, None),
    ("14.2 clamped before summing", "bytes=0-0,9-99", 10, spans((0, 0), (9, 9))),
    ("14.2 seventeen parts", apart(17), 100, MOST_PARTS[:17]),
    ("14.2 twenty parts, as zsync asks", apart(20), 100, MOST_PARTS[:20]),
    ("14.2 as many as zchunk asks", apart(255), 1000, MOST_PARTS[:255]),
    ("14.2 the most parts", apart(256), 1000, MOST_PARTS),
    ("14.2 one part too many", apart(257), 1000, None),
    ("14.2 the most parts, and an unsatisfiable one", apart(256) + ",5000-", 1000, MOST_PARTS),
    ("14.2 the most parts, one asked for twice", apart(256) + ",0-0", 1000, MOST_PARTS),
    ("14.2 many that touch are one", apart(300, 1), 1000, spans((0, 299))),
    (
        "14.2 the most parts, out of many that touch",
        apart(256) + ",1-1",
        1000,
        spans((0, 2)) + MOST_PARTS[2:],
    ),
    ("14.2 many empty elements", "bytes=0-0," + "," * 500 + "5-5", 1000, spans((0, 0), (5, 5))),
    ("14.2 more elements than are read", "bytes=" + "0-0," * 1100, 10000, None),
    (
        "14.2 forty that touch are one",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(40)),
        100,
        spans((0, 39)),
    ),
]

FRONT_PROXY_SIZE = 1_000_000
FRONT_PROXY_FIELDS: list[tuple[str, ...]] = [
    (f"Range: bytes={','.join(['0-62499'] * 16)}",),
    (f"Range: bytes={','.join(['0-62500'] * 16)}",),
    (f"Range: bytes={','.join(['0-9'] * 16)}",),
    (f"Range: bytes={','.join(['0-9'] * 17)}",),
    (f"Range: bytes={','.join(['0-9'] * 256)}",),
    (f"Range: bytes={','.join(['0-9'] * 257)}",),
    (f"Range: {apart(255)}",),
    (f"Range: {apart(300)}",),
    (f"Range: {apart(300, 1)}",),
    (f"Range: bytes={','.join(['-5'] * 16)}",),
    *(
        (f"Range: {value}",)
        for value in (
            "bytes=0-9", "bytes=-9", "bytes=999990-", "bytes=999990-2000000", "bytes=0-9,10-19",
            "bytes=0-9, 10-19", "bytes=0-9,5-14", "bytes=5-14,0-9", "bytes=0-500000,400000-899999",
            "bytes=0-499999,500000-999999", "bytes=0-999999,0-0", "bytes=0-,0-",
            "bytes=0-9,20-29,20-29,-1,-1", "bytes=0-9,1000000-", "bytes=1000000-", "bytes=1000000-,0-9",
            "bytes=5-2", "bytes=5-2,0-9", "bytes=0-9,5-2", "bytes=0-9,abc", "bytes=0-9,", "bytes=,0-9",
            "bytes=0-9,,20-29", "bytes= 0-9", "bytes=0-9 , 20-29", "bytes=0-9\t,20-29", "Bytes=0-9",
            "BYTES=0-9,0-9", "bytes =0-9", "bytes=-0", "bytes=-0,0-9", "bytes=0-9,-0", "bytes=00-09",
            "bytes=0-9;q=1", "bytes=99999999999999999999-", "bytes=0-99999999999999999999", "bytes=--5",
            "bytes=-5-6", "bytes=0-9,0-99999999999999999999", "bytes=+0-9", "bytes=0x0-9", "lines=0-9",
            "bytes=", "0-9",
        )
    ),
    ("Range: bytes=0-9", 'If-Range: "another"'),
    ("Range: bytes=0-9,0-9", "If-Range: Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Range: bytes=0-9", "Range: bytes=20-400029"),
    ("Range: bytes=0-9", "Request-Range: bytes=0-99"),
    ("Range: bytes=0-9", "If-None-Match: *"),
    ("Range: bytes=0-9", 'If-Match: "another"'),
    (),
]  # fmt: skip
"""Fields of requests for a file of FRONT_PROXY_SIZE bytes, which a front proxy sends by rules of its own."""

_PART = re.compile(rb"\r\nContent-Range: bytes ([0-9]+)-([0-9]+)/[0-9]+\r\n", re.IGNORECASE)


def file_bytes(content_type: str, body: bytes) -> int:
    """How many bytes of a file are in the body of a 200 or 206: those of the parts, if there are several."""
    if not content_type.startswith("multipart/byteranges"):
        return len(body)
    return sum(int(last) - int(first) + 1 for first, last in _PART.findall(body))
