"""Conditions and what they decide: RFC 9110 section 13 as tables, in the order of section 13.2.2."""

from __future__ import annotations

from gateway.http.conditions import Verdict

ETAG = '"xyzzy"'
MODIFIED = 784111777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
GO, SAME, FAILED = Verdict.PROCEED, Verdict.NOT_MODIFIED, Verdict.PRECONDITION_FAILED
Fields = dict[str, str | list[str]]
CASES: list[tuple[str, Fields, Verdict]] = [
    ("13 no conditions", {"Accept": "*/*"}, GO),
    # 13.1.1 If-Match, strong
    ("13.1.1 the tag", {"If-Match": '"xyzzy"'}, GO),
    ("13.1.1 the RFC's list", {"If-Match": '"xyzzy", "r2d2xxxx", "c3piozzzz"'}, GO),
    ("13.1.1 last of the list", {"If-Match": '"r2d2xxxx", "xyzzy"'}, GO),
    ("13.1.1 any", {"If-Match": "*"}, GO),
    ("13.1.1 name in lower case", {"if-match": '"other"'}, FAILED),
    ("13.1.1 another", {"If-Match": '"other"'}, FAILED),
    ("13.1.1 case counts", {"If-Match": '"XYZZY"'}, FAILED),
    ("13.1.1 weak never matches", {"If-Match": 'W/"xyzzy"'}, FAILED),
    ("13.1.1 weak beside strong", {"If-Match": 'W/"xyzzy", "xyzzy"'}, GO),
    ("13.1.1 empty list", {"If-Match": ""}, FAILED),
    ("13.1.1 without quotes", {"If-Match": "xyzzy"}, FAILED),
    ("5.3 two lines", {"If-Match": ['"other"', '"xyzzy"']}, GO),
    ("5.3 two lines, none", {"If-Match": ['"other"', '"another"']}, FAILED),
    ("13.1.1 star in a list is no grammar", {"If-Match": '"other", *'}, FAILED),
    # 13.1.4 If-Unmodified-Since
    ("13.1.4 the same second", {"If-Unmodified-Since": DATE}, GO),
    ("13.1.4 later", {"If-Unmodified-Since": AFTER}, GO),
    ("13.1.4 earlier", {"If-Unmodified-Since": BEFORE}, FAILED),
    ("13.1.4 not a date", {"If-Unmodified-Since": "yesterday"}, GO),
    ("13.1.4 list of dates", {"If-Unmodified-Since": f"{BEFORE}, {BEFORE}"}, GO),
    ("13.1.4 two lines", {"If-Unmodified-Since": [BEFORE, BEFORE]}, GO),
    ("13.1.4 RFC 850 format", {"If-Unmodified-Since": "Sunday, 06-Nov-94 08:49:36 GMT"}, FAILED),
    ("13.1.4 asctime format", {"If-Unmodified-Since": "Sun Nov  6 08:49:36 1994"}, FAILED),
    # 13.1.2 If-None-Match, weak
    ("13.1.2 the tag", {"If-None-Match": '"xyzzy"'}, SAME),
    ("13.1.2 weak", {"If-None-Match": 'W/"xyzzy"'}, SAME),
    ("13.1.2 the RFC's list", {"If-None-Match": '"xyzzy", "r2d2xxxx", "c3piozzzz"'}, SAME),
    ("13.1.2 the RFC's weak list", {"If-None-Match": 'W/"r2d2xxxx", W/"xyzzy", W/"c3piozzzz"'}, SAME),
    ("13.1.2 any", {"If-None-Match": "*"}, SAME),
    ("13.1.2 any with space around", {"If-None-Match": " * "}, SAME),
    ("13.1.2 another", {"If-None-Match": '"other"'}, GO),
    ("13.1.2 empty", {"If-None-Match": ""}, GO),
    ("8.8.3 w in lower case", {"If-None-Match": 'w/"xyzzy"'}, GO),
    ("8.8.3 comma inside a tag", {"If-None-Match": '"a,b", "xyzzy"'}, SAME),
    ("8.8.3 the tag inside a tag", {"If-None-Match": '"a,"xyzzy",b"'}, GO),
    ("8.8.3 space inside a tag", {"If-None-Match": '"a b", "xyzzy"'}, GO),
    ("8.8.3 obs-text inside a tag", {"If-None-Match": '"caf\u00e9\udcff", "xyzzy"'}, SAME),
    ("8.8.3 backslash is no escape", {"If-None-Match": '"a\\", "xyzzy"'}, SAME),
    ("8.8.3 not closed", {"If-None-Match": '"xyzzy'}, GO),
    ("8.8.3 rubbish after the tag", {"If-None-Match": '"xyzzy", x'}, GO),
    ("8.8.3 no comma between", {"If-None-Match": '"other" "xyzzy"'}, GO),
    ("5.6.1 empty elements", {"If-None-Match": ', ,"other",,\t"xyzzy" ,'}, SAME),
    ("5.6.1 no space", {"If-None-Match": '"other","xyzzy"'}, SAME),
    ("5.3 several lines", {"If-None-Match": ['"other"', '"xyzzy"']}, SAME),
    # 13.1.3 If-Modified-Since
    ("13.1.3 the same second", {"If-Modified-Since": DATE}, SAME),
    ("13.1.3 later", {"If-Modified-Since": AFTER}, SAME),
    ("13.1.3 earlier", {"If-Modified-Since": BEFORE}, GO),
    ("13.1.3 not a date", {"If-Modified-Since": "0"}, GO),
    ("13.1.3 more than one member", {"If-Modified-Since": [DATE, DATE]}, GO),
    ("13.1.3 RFC 850 format", {"If-Modified-Since": "Sunday, 06-Nov-94 08:49:37 GMT"}, SAME),
    # 13.2.2 precedence
    ("13.2.2 If-Match holds, date not looked at", {"If-Match": ETAG, "If-Unmodified-Since": BEFORE}, GO),
    ("13.2.2 If-Match fails, date not looked at", {"If-Match": '"o"', "If-Unmodified-Since": AFTER}, FAILED),
    ("13.2.2 If-Match before If-None-Match", {"If-Match": '"o"', "If-None-Match": ETAG}, FAILED),
    ("13.2.2 If-Match holds, then If-None-Match", {"If-Match": ETAG, "If-None-Match": ETAG}, SAME),
    ("13.2.2 If-Unmodified-Since first", {"If-Unmodified-Since": BEFORE, "If-None-Match": ETAG}, FAILED),
    ("13.2.2 If-None-Match hides the date", {"If-None-Match": '"o"', "If-Modified-Since": AFTER}, GO),
    ("13.2.2 If-None-Match decides", {"If-None-Match": ETAG, "If-Modified-Since": BEFORE}, SAME),
    ("13.2.2 If-Match, then If-Modified-Since", {"If-Match": ETAG, "If-Modified-Since": DATE}, SAME),
    ("13.2.2 both dates hold", {"If-Unmodified-Since": DATE, "If-Modified-Since": BEFORE}, GO),
    ("13.2.2 both dates", {"If-Unmodified-Since": DATE, "If-Modified-Since": DATE}, SAME),
]
RANGE_CASES: list[tuple[str, Fields, bool]] = [
    ("13.1.5 absent", {}, True),
    ("13.1.5 the tag", {"If-Range": ETAG}, True),
    ("13.1.5 the tag with space around", {"If-Range": f" {ETAG}\t"}, True),
    ("13.1.5 another tag", {"If-Range": '"other"'}, False),
    ("13.1.5 weak tag", {"If-Range": 'W/"xyzzy"'}, False),
    ("13.1.5 list of tags", {"If-Range": '"xyzzy", "other"'}, False),
    ("13.1.5 any is no validator", {"If-Range": "*"}, False),
    ("13.1.5 without quotes", {"If-Range": "xyzzy"}, False),
    ("13.1.5 empty", {"If-Range": ""}, False),
    ("13.1.5 the date", {"If-Range": DATE}, True),
    ("13.1.5 earlier", {"If-Range": BEFORE}, False),
    ("13.1.5 later is no match either", {"If-Range": AFTER}, False),
    ("13.1.5 the date in RFC 850 format", {"If-Range": "Sunday, 06-Nov-94 08:49:37 GMT"}, True),
    ("13.1.5 the date in asctime format", {"If-Range": "Sun Nov  6 08:49:37 1994"}, True),
    ("13.1.5 not a date", {"If-Range": "Sun, 06 Nov 1994"}, False),
    ("13.1.5 two lines", {"If-Range": [ETAG, ETAG]}, False),
]
