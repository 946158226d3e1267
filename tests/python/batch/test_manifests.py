"""Manifests as people, spreadsheets and other programs write them: each has the same two pairs."""

import gzip

import pytest
from astropy.table import Table

from psfmatch.batch import Pair, readManifest
from psfmatch.batch.textTable import textRows

HEADER, ROWS = "name,template,science,gain", ("0012,t.fits,sub/a.fits,1.5", "b,t.fits,b.fits[SCI],")
PLAIN = "\n".join([HEADER, *ROWS]) + "\n"


def withSeparator(separator):
    return PLAIN.replace(",", separator)


MANIFESTS = {
    "plain": PLAIN,
    "byteOrderMark": "\ufeff" + PLAIN,
    "windowsLines": PLAIN.replace("\n", "\r\n"),
    "oldMacLines": PLAIN.replace("\n", "\r"),
    "noLastNewline": PLAIN.rstrip("\n"),
    "semicolons": withSeparator(";"),
    "semicolonsAndDecimalComma": withSeparator(";").replace("1.5", "1,5"),
    "excel": "\ufeffsep=;\r\n" + withSeparator(";").replace("1.5", '"1,5"').replace("\n", "\r\n") + ";;;\r\n;;;\r\n",
    "tabs": withSeparator("\t"),
    "bars": withSeparator("|"),
    "framedBars": "\n".join(f"| {line.replace(',', ' | ')} |" for line in PLAIN.splitlines()),
    "blanks": PLAIN.replace("[SCI],", "[SCI],nan").replace(",", "   "),
    "quotes": "\n".join(",".join(f'"{entry}"' for entry in line.split(",")) for line in PLAIN.splitlines()),
    "blanksAround": PLAIN.replace(",", " , "),
    "blanksBeforeQuotes": '"name", "template", "science", "gain"\n"0012", "t.fits", "sub/a.fits", "1.5"\n'
    'b, "t.fits", "b.fits[SCI]", ""\n',
    "upperCase": PLAIN.replace(HEADER, HEADER.upper()),
    "emptyLines": PLAIN.replace("\n", "\n\n"),
    "comments": "# a night\n" + PLAIN.replace("\nb,", "\n# the second\nb,"),
    "commentedHeader": "# " + PLAIN,
    "titleAbove": "Night of 3 May,,,\n,,,\n" + PLAIN,
    "separatorsAtTheEnd": "\n".join(f"{line},," for line in PLAIN.splitlines()),
    "separatorsAtTheEndOfRows": HEADER + "\n" + "\n".join(f"{row},," for row in ROWS),
    "missingLastEntries": PLAIN.replace("[SCI],", "[SCI]"),
    "moreColumns": f"mjd,{HEADER}\n6.0,{ROWS[0]}\n7.0,{ROWS[1]}\n",
    "noneInWords": PLAIN.replace("[SCI],", "[SCI],n/a"),
    "rule": PLAIN.replace(HEADER, HEADER + "\n----,--------,-------,----"),
}


def check(path):
    first, second = readManifest(path)
    folder = path.parent
    assert first == Pair("0012", str(folder / "t.fits"), str(folder / "sub/a.fits"), gain=1.5)
    assert second == Pair("b", str(folder / "t.fits"), str(folder / "b.fits[SCI]"))


@pytest.mark.parametrize("ending", [".csv", ".txt", ""])
@pytest.mark.parametrize("text", MANIFESTS.values(), ids=MANIFESTS)
def test_theSamePairs(tmp_path, text, ending):
    path = tmp_path / f"night{ending}"
    path.write_bytes(text.encode())
    check(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "night.csv"
    path.write_bytes("template;science\nété/t.fits;übung.fits\n".encode(encoding))
    assert readManifest(path) == (Pair("übung", str(tmp_path / "été/t.fits"), str(tmp_path / "übung.fits")),)


@pytest.mark.parametrize("ending", ["ecsv", "fits", "vot", "xml", "rst", "csv.gz", "ipac", "fixed", "twoLine"])
def test_tablesOfPrograms(tmp_path, ending):
    table = Table(rows=[line.split(",") for line in ROWS], names=HEADER.split(","))
    table["gain"] = [1.5, float("nan")]
    path = tmp_path / f"night.{ending}"
    if ending == "csv.gz":
        path.write_bytes(gzip.compress(PLAIN.encode()))
    else:
        forms = {
            "vot": "votable", "xml": "votable", "rst": "ascii.rst", "ipac": "ascii.ipac",
            "fixed": "ascii.fixed_width", "twoLine": "ascii.fixed_width_two_line",
        }  # fmt: skip
        table.write(path, format=forms.get(ending))
    check(path)


@pytest.mark.parametrize(
    ("row", "template", "science"),
    [
        ("t.fits[SCI,1],s.fits[SCI,2]", "{here}/t.fits[SCI,1]", "{here}/s.fits[SCI,2]"),
        ('"t, 1.fits","s 1.fits"', "{here}/t, 1.fits", "{here}/s 1.fits"),
        ("~/t.fits,/data/s.fits", "{home}/t.fits", "/data/s.fits"),
        ("~/t.fits[1],./s.fits", "{home}/t.fits[1]", "{here}/s.fits"),
        ("~nobodyOfThisName/t.fits,../s.fits", "{here}/~nobodyOfThisName/t.fits", "{here}/../s.fits"),
        ("https://x.org/t.fits,file:///s.fits", "https://x.org/t.fits", "file:///s.fits"),
    ],
)
def test_paths(tmp_path, monkeypatch, row, template, science):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    (tmp_path / "night.csv").write_text(f"template,science\n{row}\n")
    (pair,) = readManifest(tmp_path / "night.csv")
    places = {"here": tmp_path, "home": tmp_path / "home"}
    assert (pair.template, pair.science) == (template.format(**places), science.format(**places))


def test_namesOfOutputsLoseEndingsInAnyCase(tmp_path):
    (tmp_path / "night.csv").write_text("template,science\nt.fits,A.FITS.GZ\nt.fits,b.Fit\nt.fits,c.fits.FZ\n")
    assert [pair.name for pair in readManifest(tmp_path / "night.csv")] == ["A", "b", "c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"template,science\na,b,c\n", "line 2 has 3 entries, but the header has 2: 'a,b,c'"),
        (b"template science gain\na b\n", "line 2 has 2 entries, but the header has 3"),
        (b"Template;template;science\na;b;c\n", "several columns are called 'template'"),
        (b"PK\x03\x04...", "the file of a spreadsheet program; save it there as CSV"),
        (b"\xd0\xcf\x11\xe0...", "the file of a spreadsheet program"),
        (b"", "cannot be read as a table"),
        (b"a.fits;b.fits\n", "cannot be read as a table|no column 'template'"),
    ],
)
def test_whatIsNoManifest(tmp_path, content, message):
    (tmp_path / "night.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        readManifest(tmp_path / "night.txt")


def test_rowsAsTheyStand():
    assert textRows("b;;A\n1; ;x \n", ("a", "b")) == (["b", "A"], [["1", "x"]])
