"""Celestial coordinates as headers have them: the right place on the sky, and the same one after writing."""

import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, Sip

from psfmatch.images import PixelTransform, pixelsToSky, skyToPixels
from psfmatch.io import asWcs, fitsWcs, readPlanes, writePlanes
from psfmatch.io.celestial import celestialCards
from psfmatch.io.coordinates import readWcs, wcsHeader

NO_TABLES = "distortion tables are not in the file, or not for both axes: "
SHAPE = (200, 300)
POSITIONS = np.array([[0.0, 0.0], [299.0, 0.0], [0.0, 199.0], [299.0, 199.0], [120.5, 91.25]])
SCALE = 5.4e-5  # degrees a pixel
CD = {"CD1_1": -5.2e-5, "CD1_2": 1.9e-5, "CD2_1": 2e-5, "CD2_2": 5.1e-5}
NO_CD = dict.fromkeys(CD)
SWAPPED = {"CRVAL1": 53.16, "CRVAL2": 215.6, "CD1_1": 2e-5, "CD1_2": 5.1e-5, "CD2_1": -5.2e-5, "CD2_2": 1.9e-5}
SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "A_1_1": -3e-6, "B_0_2": 1e-5}
NAMED_SIP = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
GALACTIC = {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}
ECLIPTIC = {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}
TPV = {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"}
FEW_PV = {"PV1_1": 1.0, "PV1_2": 0.0, "PV2_1": 1.0, "PV2_2": 0.01}
PV = {"PV1_0": 1e-5, "PV1_1": 1.0, "PV1_2": 0.0, "PV1_5": 0.1, "PV2_0": 0.0, "PV2_1": 1.0, "PV2_2": 0.0, "PV2_5": 0.1}
PC = {"CDELT1": -5.2e-5, "CDELT2": 5.1e-5, "PC1_1": 0.9, "PC1_2": 0.1, "PC2_1": -0.1, "PC2_2": 0.95}
CROTA = {"CDELT1": -5.2e-5, "CDELT2": 5.1e-5, "CROTA2": 20.0}
OLD_PC = {"CDELT1": -5.2e-5, "CDELT2": 5.1e-5, "PC001001": 0.9, "PC001002": 0.1, "PC002001": -0.1, "PC002002": 0.95}


def makeHeader(**cards):
    """Return a header; cards that are None are left out."""
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 300), ("NAXIS2", 200)])
    plain = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 215.6, "CRVAL2": 53.16}
    plain |= {"CRPIX1": 120.25, "CRPIX2": 90.5, **CD}
    header.update({key: value for key, value in (plain | cards).items() if value is not None})
    return header


def renamed(letter, **cards):
    header = makeHeader(**cards)
    for key in [key for key in header if key.startswith(("CTYPE", "CRVAL", "CRPIX", "CD"))]:
        header[key + letter] = header.pop(key)
    return header


def units(word, *factors):
    """Return cards of the plain coordinates in units of degrees divided by factors."""
    cards = {"CRVAL1": 215.6, "CRVAL2": 53.16, **CD}
    scaled = {key: value * factors[int(key.replace("CRVAL", "CD")[2]) - 1] for key, value in cards.items()}
    return {"CUNIT1": word, "CUNIT2": word if factors[0] == factors[1] else "deg", **scaled}


TRUE = makeHeader()
# Header, header of which astropy gives the true positions, and words of the log line; "" where there is none.
HEADERS = {
    "left-over SIP": (makeHeader(**SIP), TRUE, "SIP coefficients are left out, for CTYPE says TAN"),
    "left-over PV": (makeHeader(**PV), TRUE, "PV coefficients are left out, for CTYPE says TAN"),
    "few left-over PV": (makeHeader(**FEW_PV), TRUE, "PV coefficients are left out, for CTYPE says TAN"),
    "both left over": (makeHeader(**PV, **SIP), TRUE, "SIP coefficients are left out"),
    "SIP": (makeHeader(**NAMED_SIP, **SIP), makeHeader(**NAMED_SIP, **SIP), ""),
    "SIP and left-over PV": (
        makeHeader(**NAMED_SIP, **SIP, **PV),
        makeHeader(**NAMED_SIP, **SIP),
        "PV coefficients are left out",
    ),
    "SIP in one CTYPE": (makeHeader(CTYPE1="RA---TAN-SIP", **SIP), makeHeader(**NAMED_SIP, **SIP), ""),
    "SIP without coefficients": (makeHeader(**NAMED_SIP), TRUE, "CTYPE says SIP, but there are no coefficients"),
    "SIP along one axis": (
        makeHeader(**NAMED_SIP, A_ORDER=2, A_2_0=1e-5),
        makeHeader(**NAMED_SIP, A_ORDER=2, A_2_0=1e-5, B_ORDER=2),
        "B_ORDER is missing and taken as 2",
    ),
    "SIP without orders": (
        makeHeader(**NAMED_SIP, **SIP | {"A_ORDER": None, "B_ORDER": None}),
        makeHeader(**NAMED_SIP, **SIP),
        "A_ORDER is missing and taken as 2",
    ),
    "half an inverse of SIP": (
        makeHeader(**NAMED_SIP, **SIP, AP_ORDER=1, AP_1_0=1e-9),
        makeHeader(**NAMED_SIP, **SIP),
        "half of the inverse of SIP is left out",
    ),
    "TPV": (makeHeader(**TPV, **PV), makeHeader(**TPV, **PV), ""),
    "TPV and left-over SIP": (makeHeader(**TPV, **PV, **SIP), makeHeader(**TPV, **PV), "SIP coefficients are left out"),
    "TPV without PV": (makeHeader(**TPV), TRUE, "CTYPE says TPV, but there are no coefficients PV"),
    "TPV along one axis": (
        makeHeader(**TPV, PV1_0=1e-5),
        makeHeader(**TPV, PV1_0=1e-5, PV1_1=1.0, PV2_1=1.0),
        "",
    ),
    "TAN of SCAMP": (makeHeader(**PV, ASTRRMS1=1e-5), makeHeader(**TPV, **PV), "for SCAMP has written it"),
    "TNX": (makeHeader(CTYPE1="RA---TNX", CTYPE2="DEC--TNX"), TRUE, "the distortion of TNX is not known here"),
    "ZPX": (
        makeHeader(CTYPE1="RA---ZPX", CTYPE2="DEC--ZPX"),
        makeHeader(CTYPE1="RA---ARC", CTYPE2="DEC--ARC"),
        "the distortion of ZPX is not known here; taken as ARC without it",
    ),
    "D2IM": (makeHeader(D2IMDIS1="Lookup", D2IMDIS2="LOOKUP"), TRUE, NO_TABLES + "D2IMDIS1, D2IMDIS2"),
    "D2IMEXT": (makeHeader(D2IMEXT="x_d2i.fits", AXISCORR=1), TRUE, NO_TABLES + "D2IMEXT"),
    "CPDIS": (makeHeader(CPDIS1="Lookup", CPDIS2="Lookup"), TRUE, NO_TABLES + "CPDIS1, CPDIS2"),
    "CPDIS1": (makeHeader(CPDIS1="Lookup", CPERR1=0.1), TRUE, NO_TABLES + "CPDIS1"),
    "XPIXELSZ": (makeHeader(XPIXELSZ=9.0, YPIXELSZ=9.0), TRUE, ""),
    "XPIXELSZ and SIP": (
        makeHeader(XPIXELSZ=9.0, YPIXELSZ=9.0, **NAMED_SIP, **SIP),
        makeHeader(**NAMED_SIP, **SIP),
        "",
    ),
    "PC and CD": (makeHeader(**PC), TRUE, "both CD and PC are given; CD counts"),
    "PC and a singular CD": (makeHeader(**dict.fromkeys(CD, 0.0) | PC), makeHeader(**NO_CD, **PC), "PC counts"),
    "PC": (makeHeader(**NO_CD, **PC), makeHeader(**NO_CD, **PC), ""),
    "old PC": (makeHeader(**NO_CD, **OLD_PC), makeHeader(**NO_CD, **PC), ""),
    "CDELT and CD": (makeHeader(CDELT1=1.0, CDELT2=1.0), TRUE, ""),
    "CROTA and CD": (makeHeader(**CROTA), TRUE, ""),
    "CROTA": (makeHeader(**NO_CD, **CROTA), makeHeader(**NO_CD, **CROTA), ""),
    "CROTA and a zero CD": (
        makeHeader(**dict.fromkeys(CD, 0.0), **CROTA),
        makeHeader(**NO_CD, **CROTA),
        "CD cannot be used; CROTA is",
    ),
    "CDELT and a singular CD": (
        makeHeader(CD1_1=1e-5, CD1_2=1e-5, CD2_1=1e-5, CD2_2=1e-5, CDELT1=-5e-5, CDELT2=5e-5),
        makeHeader(**NO_CD, CDELT1=-5e-5, CDELT2=5e-5),
        "CD cannot be used; CDELT is",
    ),
    "half a CD": (makeHeader(CD1_2=None, CD2_1=None), makeHeader(CD1_2=0.0, CD2_1=0.0), ""),
    "no CRPIX": (makeHeader(CRPIX1=None), makeHeader(CRPIX1=0.0), "card CRPIX1 is missing and taken as 0"),
    "DEC first": (
        makeHeader(CTYPE1="DEC--TAN", CTYPE2="RA---TAN", **SWAPPED),
        TRUE,
        "the axes of the sky are 2 and 1; written as 1 and 2",
    ),
    "DEC first with SIP": (
        makeHeader(CTYPE1="DEC--TAN-SIP", CTYPE2="RA---TAN-SIP", **SWAPPED, **SIP),
        makeHeader(**NAMED_SIP, **SIP),
        "the axes of the sky are 2 and 1",
    ),
    "DEC first with PC": (
        makeHeader(
            CTYPE1="DEC--TAN", CTYPE2="RA---TAN", CRVAL1=53.16, CRVAL2=215.6, **NO_CD,
            CDELT1=5.1e-5, CDELT2=-5.2e-5, PC1_1=-0.1, PC1_2=0.95, PC2_1=0.9, PC2_2=0.1,
        ),
        makeHeader(**NO_CD, **PC),
        "the axes of the sky are 2 and 1",
    ),
    "DEC first with TPV": (
        makeHeader(
            CTYPE1="DEC--TPV", CTYPE2="RA---TPV", **SWAPPED, **{f"PV{3 - int(key[2])}{key[3:]}": PV[key] for key in PV}
        ),
        makeHeader(**TPV, **PV),
        "the axes of the sky are 2 and 1",
    ),
    "galactic": (makeHeader(**GALACTIC), makeHeader(**GALACTIC), ""),
    "ecliptic": (makeHeader(**ECLIPTIC), makeHeader(**ECLIPTIC), ""),
    "LONPOLE": (makeHeader(LONPOLE=170.0), makeHeader(LONPOLE=170.0), ""),
    "ZPN": (
        makeHeader(CTYPE1="RA---ZPN", CTYPE2="DEC--ZPN", PV2_1=1.0, PV2_3=220.0),
        makeHeader(CTYPE1="RA---ZPN", CTYPE2="DEC--ZPN", PV2_1=1.0, PV2_3=220.0),
        "",
    ),
    "lower case": (makeHeader(CTYPE1="ra---tan", CTYPE2="dec--tan"), TRUE, ""),
    "too few dashes": (makeHeader(CTYPE1="RA-TAN", CTYPE2="DEC-TAN"), TRUE, ""),
    "degrees": (makeHeader(CUNIT1="degrees", CUNIT2="DEGREE"), TRUE, ""),
    "arcsec": (makeHeader(**units("arcsec", 3600.0, 3600.0)), TRUE, ""),
    "arcseconds": (makeHeader(**units("ArcSeconds", 3600.0, 3600.0)), TRUE, ""),
    "rad": (makeHeader(**units("rad", math.radians(1.0), math.radians(1.0))), TRUE, ""),
    "hours": (makeHeader(**units("hours", 1 / 15, 1.0)), TRUE, ""),
    "no unit of angles": (makeHeader(CUNIT1="furlong"), TRUE, "CUNIT1 = 'furlong' is no unit of angles"),
    "RADESYS": (makeHeader(RADESYS="wonderful"), TRUE, "RADESYS = 'wonderful' is no frame that is known"),
    "J2000": (makeHeader(RADESYS="J2000"), TRUE, ""),
    "EQUINOX": (makeHeader(EQUINOX=0.0), TRUE, "EQUINOX = 0 is no year and left out"),
    "DATE-OBS": (makeHeader(**{"DATE-OBS": "yesterday", "MJD-OBS": -1.0, "CUNIT1": "Deg"}), TRUE, ""),
    "WCSAXES": (makeHeader(WCSAXES=3), TRUE, ""),
    "WCSAXES 0": (makeHeader(WCSAXES=0), TRUE, ""),
    "degenerate axis": (makeHeader(NAXIS=3, NAXIS3=1, CTYPE3="", CRVAL3=0.0), TRUE, ""),
    "spectral axis": (makeHeader(CTYPE3="FREQ", CRVAL3=1.4e9, CDELT3=1e6, CRPIX3=1.0, CD3_3=1e6), TRUE, ""),
    # Of a third axis the plane at its first pixel counts.
    "coupled axis": (makeHeader(CTYPE3="FREQ", CRPIX3=0.0, CD1_3=-5.2e-5, CD2_3=2e-5), makeHeader(CRPIX1=119.25), ""),
    "sky behind": (
        makeHeader(
            CTYPE1="FREQ", CTYPE2="RA---TAN", CTYPE3="DEC--TAN", CRVAL1=1.4e9, CRVAL2=215.6, CRVAL3=53.16, CD1_1=None,
            CD1_2=None, CD2_1=-5.2e-5, CD2_2=1.9e-5, CD3_1=2e-5, CD3_2=5.1e-5,
        ),
        TRUE,
        "the axes of the sky are 2 and 3",
    ),
    "alternate": (renamed("B"), TRUE, "only the alternate WCS B is celestial"),
    "alternate with a left-over": (renamed("A", **SIP), TRUE, "only the alternate WCS A is celestial"),
    # Of what is wild.
    "TPV with terms of the distance": (
        makeHeader(**TPV, PV1_1=1.0, PV1_3=0.01, PV2_1=1.0, PV2_3=0.01),
        makeHeader(**TPV, PV1_1=1.0, PV1_3=0.01, PV2_1=1.0, PV2_3=0.01),
        "",
    ),
    "TPV that swaps the axes": (
        makeHeader(**TPV, PV1_1=0.0, PV1_2=1.0, PV2_1=0.0, PV2_2=1.0),
        makeHeader(**TPV, PV1_1=0.0, PV1_2=1.0, PV2_1=0.0, PV2_2=1.0),
        "",
    ),
    "TPV and SIP": (
        makeHeader(CTYPE1="RA---TPV-SIP", CTYPE2="DEC--TPV-SIP", **PV, **SIP),
        makeHeader(**NAMED_SIP, **SIP),
        "CTYPE says TPV and SIP; SIP counts; PV coefficients are left out",
    ),
    "SIP of order 1": (
        makeHeader(**NAMED_SIP, A_ORDER=1, B_ORDER=1, A_1_0=1e-4, B_0_1=-1e-4),
        makeHeader(**NAMED_SIP, A_ORDER=2, B_ORDER=2, A_1_0=1e-4, B_0_1=-1e-4),
        "",
    ),
    "SIP of order 0": (makeHeader(**NAMED_SIP, A_ORDER=0, B_ORDER=0), TRUE, "there are no coefficients"),
    "SIP of orders 0 and 2": (
        makeHeader(**NAMED_SIP, A_ORDER=0, B_ORDER=2, B_0_2=1e-5),
        makeHeader(**NAMED_SIP, A_ORDER=2, B_ORDER=2, B_0_2=1e-5),
        "",
    ),
    "SIP of a negative order": (
        makeHeader(**NAMED_SIP, A_ORDER=-1, B_ORDER=2, B_0_2=1e-5),
        makeHeader(**NAMED_SIP, A_ORDER=2, B_ORDER=2, B_0_2=1e-5),
        "A_ORDER is -1, which cannot be, and taken as 2",
    ),
    "SIP of an order beyond memory": (
        makeHeader(**NAMED_SIP, **SIP | {"A_ORDER": 200000}),
        makeHeader(**NAMED_SIP, **SIP),
        "A_ORDER is 200000, which cannot be, and taken as 2",
    ),
    "SIP with largest corrections": (
        makeHeader(**NAMED_SIP, **SIP, A_DMAX=0.5, B_DMAX=0.4),
        makeHeader(**NAMED_SIP, **SIP),
        "",
    ),
    "an inverse of SIP alone": (
        makeHeader(**NAMED_SIP, AP_ORDER=2, BP_ORDER=2, AP_2_0=1e-5, BP_0_2=1e-5),
        TRUE,
        "an inverse of SIP without SIP itself is left out",
    ),
    "SIP with CROTA": (
        makeHeader(**NAMED_SIP, **SIP, **NO_CD, **CROTA),
        makeHeader(**NAMED_SIP, **SIP, **NO_CD, **CROTA),
        "",
    ),
    "CROTA1": (makeHeader(**NO_CD, CDELT1=-5.2e-5, CDELT2=5.1e-5, CROTA1=20.0), makeHeader(**NO_CD, **CROTA), ""),
    "half a PC": (
        makeHeader(**NO_CD, CDELT1=-5.2e-5, CDELT2=5.1e-5, PC1_2=0.1, PC2_1=-0.1),
        makeHeader(**NO_CD, CDELT1=-5.2e-5, CDELT2=5.1e-5, PC1_1=1.0, PC1_2=0.1, PC2_1=-0.1, PC2_2=1.0),
        "",
    ),
    "PC without CDELT": (
        makeHeader(**NO_CD, PC1_1=-5.2e-5, PC2_2=5.1e-5),
        makeHeader(**NO_CD, CDELT1=-5.2e-5, CDELT2=5.1e-5),
        "",
    ),
    "a rotation as CD": (
        makeHeader(CD1_1=0.8, CD1_2=0.6, CD2_1=-0.6, CD2_2=0.8, CDELT1=-5.2e-5, CDELT2=5.1e-5),
        makeHeader(**NO_CD, CDELT1=-5.2e-5, CDELT2=5.1e-5, PC1_1=0.8, PC1_2=0.6, PC2_1=-0.6, PC2_2=0.8),
        "CD is a rotation without a scale; read as PC with CDELT",
    ),
    "old CD": (makeHeader(**NO_CD, CD001001=-5.2e-5, CD001002=1.9e-5, CD002001=2e-5, CD002002=5.1e-5), TRUE, ""),
    "native north below": (makeHeader(LONPOLE=0.0), makeHeader(LONPOLE=0.0), ""),
    "EPOCH of 1950": (makeHeader(EPOCH=1950.0), makeHeader(EPOCH=1950.0), ""),
    "EPOCH of the observation": (makeHeader(EPOCH=2015.4), TRUE, "EPOCH = 2015.4 is taken for that of the observation"),
    "RADECSYS": (makeHeader(RADECSYS="fk5", EQUINOX=2000), TRUE, ""),
    "frame of date": (makeHeader(RADESYS="TETE"), TRUE, "RADESYS = 'TETE' is no frame that is known"),
    "arcminutes": (makeHeader(**units("arcmin", 60.0, 60.0)), TRUE, ""),
    "mas": (makeHeader(**units("mas", 3.6e6, 3.6e6)), TRUE, ""),
    "inches": (makeHeader(**units('"', 3600.0, 3600.0)), TRUE, ""),
    "padded": (makeHeader(CTYPE1="RA---TAN  ", CTYPE2="  DEC--TAN", CUNIT1="deg   "), TRUE, ""),
    "underlines": (makeHeader(CTYPE1="RA___TAN", CTYPE2="DEC__TAN"), TRUE, ""),
    "blanks for dashes": (makeHeader(CTYPE1="RA   TAN", CTYPE2="DEC  TAN"), TRUE, ""),
    "too many dashes": (makeHeader(CTYPE1="RA----TAN", CTYPE2="DEC---TAN"), TRUE, ""),
    "one projection": (makeHeader(CTYPE2="DEC"), TRUE, "the CTYPE of one axis names no projection; TAN as the other"),
    "SIN": (makeHeader(CTYPE1="RA---SIN", CTYPE2="DEC--SIN"), makeHeader(CTYPE1="RA---SIN", CTYPE2="DEC--SIN"), ""),
    "NCP": (makeHeader(CTYPE1="RA---NCP", CTYPE2="DEC--NCP"), makeHeader(CTYPE1="RA---NCP", CTYPE2="DEC--NCP"), ""),
    "GLS": (makeHeader(CTYPE1="RA---GLS", CTYPE2="DEC--GLS"), makeHeader(CTYPE1="RA---GLS", CTYPE2="DEC--GLS"), ""),
    "CAR": (
        makeHeader(CTYPE1="RA---CAR", CTYPE2="DEC--CAR", CRVAL2=0.0),
        makeHeader(CTYPE1="RA---CAR", CTYPE2="DEC--CAR", CRVAL2=0.0),
        "",
    ),
    "COE": (
        makeHeader(CTYPE1="RA---COE", CTYPE2="DEC--COE", PV2_1=40.0, PV2_2=5.0),
        makeHeader(CTYPE1="RA---COE", CTYPE2="DEC--COE", PV2_1=40.0, PV2_2=5.0),
        "",
    ),
    "native pole as PV": (makeHeader(PV1_1=0.0, PV1_2=90.0, PV1_3=180.0, PV1_4=90.0), TRUE, "PV coefficients are left"),
    "radio": (
        makeHeader(CTYPE1="RA---SIN", CTYPE2="DEC--SIN", CTYPE3="FREQ", CTYPE4="STOKES", CRVAL3=1e9, PV2_1=0.0),
        makeHeader(CTYPE1="RA---SIN", CTYPE2="DEC--SIN"),
        "",
    ),
    "three axes for two": (
        makeHeader(**NO_CD, **PC, WCSAXES=3, CTYPE3="STOKES", CRVAL3=1.0, CRPIX3=1.0, CDELT3=1.0, PC3_3=1.0),
        makeHeader(**NO_CD, **PC),
        "",
    ),
    "RA below 0": (makeHeader(CRVAL1=215.6 - 360.0), TRUE, ""),
    "RA beyond 360": (makeHeader(CRVAL1=215.6 + 360.0), TRUE, ""),
    "pole": (makeHeader(CRVAL2=90.0), makeHeader(CRVAL2=90.0), ""),
    "of IRAF": (makeHeader(LTM1_1=0.5, LTM2_2=0.5, WAT0_001="system=image", WAT1_001="wtype=tan axtype=ra"), TRUE, ""),
    "of a scanned plate": (makeHeader(PLTRAH=14, PLTRAM=22, AMDX1=67.0, AMDY1=67.0, PPO3=1.0), TRUE, ""),
}  # fmt: skip


def pixelsApart(one, other):
    """Largest distance, pixels, of two arrays of positions on the sky."""
    turn = (one[:, 0] - other[:, 0] + 180.0) % 360.0 - 180.0
    return np.hypot(turn * np.cos(np.radians(other[:, 1])), one[:, 1] - other[:, 1]).max() / SCALE


def skyOf(coordinates):
    return np.column_stack(asWcs(coordinates).all_pix2world(POSITIONS, 0).T)


@pytest.mark.parametrize("name", HEADERS)
def test_positionsAreRightAndSurviveWriting(name, caplog):
    header, true, words = HEADERS[name]
    before = header.tostring()
    coordinates = readWcs(header, None, (0, 0), label="a.fits")
    assert header.tostring() == before
    expected = WCS(true).all_pix2world(POSITIONS, 0)
    assert pixelsApart(skyOf(coordinates), expected) < 1e-6
    told = [record.getMessage() for record in caplog.records if record.name == "psfmatch.io"]
    assert len(told) == bool(words)
    assert not words or (told[0].startswith("a.fits: of the WCS: ") and words in told[0])
    # What is written is read to the same place, here and by astropy alone, without a word.
    caplog.clear()
    cards, tables = wcsHeader(coordinates, (0, 0))
    assert tables == []
    written = fits.Header.fromstring(fits.ImageHDU(np.zeros(SHAPE, np.float32), header=cards).header.tostring())
    assert pixelsApart(skyOf(readWcs(written, None, (0, 0))), expected) < 1e-6
    assert pixelsApart(WCS(written).all_pix2world(POSITIONS, 0), expected) < 1e-6
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    for card in cards.cards:
        card.verify("exception")


@pytest.mark.parametrize("name", HEADERS)
def test_positionsOfFiles(name, tmp_path):
    """The same by way of files, with pixels, a parent origin, and positions there and back."""
    header, true, _ = HEADERS[name]
    path = tmp_path / "a.fits"
    image = np.zeros(SHAPE if header["NAXIS"] == 2 else (1, *SHAPE), np.float32)
    fits.PrimaryHDU(image, header=header).writeto(path)
    writePlanes(tmp_path / "b.fits", readPlanes(path, gain=1.0))
    coordinates = readPlanes(tmp_path / "b.fits").wcs
    expected = WCS(true).all_pix2world(POSITIONS, 0)
    assert pixelsApart(skyOf(coordinates), expected) < 1e-6
    there = PixelTransform(coordinates, coordinates.shifted(3, 4) if hasattr(coordinates, "shifted") else coordinates)
    shift = (3, 4) if hasattr(coordinates, "shifted") else (0, 0)
    np.testing.assert_allclose(np.transpose(there(*POSITIONS.T)) - shift, POSITIONS, atol=1e-3)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"CTYPE2": "DEC--SIN"}, "CTYPE names two projections, TAN and SIN"),
        (dict.fromkeys(CD, 0.0), "the matrix of CD has no inverse"),
        ({**NO_CD, "CDELT1": 0.0, "CDELT2": 0.0}, "the matrix of CDELT has no inverse"),
        (NO_CD, "it has no scale, CD or CDELT"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "CTYPE names the projection XYZ, which is not known"),
        ({"CTYPE1": "RA---DSS", "CTYPE2": "DEC--DSS"}, "CTYPE names the projection DSS, which is not known"),
        ({"CTYPE1": "RA---TAB", "CTYPE2": "DEC--TAB"}, "CTYPE names the projection TAB, which is not known"),
        ({**NO_CD, "CDELT1": -5.2e-5}, "card CDELT2 is missing"),
        ({**NO_CD, "CDELT1": -5.2e-5, "PC1_1": 1.0, "PC2_2": 1.0}, "card CDELT2 is missing"),
        ({**NO_CD, "CDELT1": -5.2e-5, "CDELT2": 0.0}, "the matrix of CDELT has no inverse"),
        ({**dict.fromkeys(CD, 0.0), "CDELT1": 1.0, "CDELT2": 1.0}, "the matrix of CD has no inverse"),
        ({"CD2_1": None, "CD2_2": None}, "the matrix of CD has no inverse"),
        ({"CD1_1": "nan"}, "card CD1_1 cannot be read"),
        ({"CRVAL1": "14:22:24.0"}, "card CRVAL1 cannot be read"),
        ({"CRVAL2": 191.0}, ""),
    ],
    ids=str,
)
def test_coordinatesThatCannotBeKnown(cards, words, caplog):
    assert readWcs(makeHeader(**cards), None, (0, 0)) is None
    assert caplog.text.count("the WCS cannot be used, going on without it") == 1
    assert words in caplog.text


@pytest.mark.parametrize("key", ["CTYPE1", "CRVAL1", "CRPIX2", "CD1_2", "CD2_2"])
def test_aLostCardIsNamed(key, caplog):
    """A place that has been given, but cannot be read, is not taken as 0."""
    assert readWcs(makeHeader(**{key: None}), None, (0, 0), lost=[key]) is None
    assert f"the WCS cannot be used, going on without it: card {key} cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("CRVAL1  = nan", "card CRVAL1 cannot be read"),
        ("CRPIX1  = 12,5", "card CRPIX1 cannot be read"),
        ("CD1_1   = 'abc'", "card CD1_1 cannot be read"),
        ("LONPOLE = nan", ""),
        ("EQUINOX = 'J2000'", ""),
        ("EQUINOX = '2000.0'", ""),
        ("EQUINOX = 2000,0", ""),
        ("RADESYS = ICRS", ""),
        ("CTYPE1  = 'RA---TAN", ""),
        ("CTYPE1  = RA---TAN", ""),
        ("CRVAL1  = '215.6'", ""),
        ("CUNIT1  = deg", ""),
        ("A_ORDER = two", ""),
    ],
)
def test_badCardsOfCoordinates(card, words, tmp_path, caplog):
    path = tmp_path / "a.fits"
    header = makeHeader(LONPOLE=180.0, EQUINOX=2000.0, RADESYS="ICRS", CUNIT1="deg", A_ORDER=2)
    fits.PrimaryHDU(np.zeros(SHAPE, np.float32), header=header).writeto(path)
    content = bytearray(path.read_bytes())
    at = content.index(card[:9].encode())
    content[at : at + 80] = card.ljust(80).encode()
    path.write_bytes(content)
    coordinates = readPlanes(path, gain=1.0).wcs
    assert f"card {card.split()[0]}" in caplog.text
    assert words in caplog.text
    if words:
        assert coordinates is None
    else:
        assert pixelsApart(skyOf(coordinates), WCS(TRUE).all_pix2world(POSITIONS, 0)) < 1e-6


def test_tablesOfBothAxesCount(caplog):
    """Of two tables one is missing: the other one alone is none; with one table made in memory both are written."""
    grid = np.random.default_rng(2).normal(0, 0.5, (8, 8)).astype(np.float32)
    for both in (False, True):
        wcs = WCS(TRUE)
        wcs.cpdis1 = DistortionLookupTable(grid, (1.0, 1.0), (1.0, 1.0), (40.0, 40.0))
        if both:
            wcs.cpdis2 = DistortionLookupTable(grid.T.copy(), (1.0, 1.0), (1.0, 1.0), (40.0, 40.0))
        cards, tables = wcsHeader(wcs, (0, 0))
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(SHAPE, np.float32), header=cards), *tables])
        expected = wcs.all_pix2world(POSITIONS, 0)
        assert pixelsApart(expected, WCS(TRUE).all_pix2world(POSITIONS, 0)) > 0.1
        assert pixelsApart(skyOf(readWcs(hdus[1].header, hdus, (0, 0))), expected) < 1e-6
    assert not caplog.records
    missing = fits.HDUList([hdu for hdu in hdus if (hdu.name, hdu.ver) != ("WCSDVARR", 2)])
    plain = skyOf(readWcs(hdus[1].header, missing, (0, 0)))
    assert pixelsApart(plain, WCS(TRUE).all_pix2world(POSITIONS, 0)) < 1e-6
    assert NO_TABLES + "CPDIS1, CPDIS2" in caplog.text


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2)])
def test_tablesOfTheDetector(axes, caplog):
    """As HST has them, for one axis or both, with SIP beside them."""
    grid = np.random.default_rng(2).normal(0, 0.5, SHAPE).astype(np.float32)
    plain = makeHeader(**NAMED_SIP, **SIP)
    wcs = WCS(plain)
    for axis in axes:
        setattr(wcs, f"det2im{axis}", DistortionLookupTable(grid, (1.0, 1.0), (1.0, 1.0), (1.0, 1.0)))
    cards, tables = wcsHeader(wcs, (0, 0))
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(SHAPE, np.float32), header=cards), *tables])
    expected = wcs.all_pix2world(POSITIONS, 0)
    assert pixelsApart(skyOf(readWcs(hdus[1].header, hdus, (0, 0))), expected) < 1e-6
    assert not caplog.records
    without = skyOf(readWcs(hdus[1].header, None, (0, 0)))
    assert pixelsApart(without, WCS(plain).all_pix2world(POSITIONS, 0)) < 1e-6
    assert "not for both axes: D2IMDIS" in caplog.text


def test_linearCoordinatesAreSaid(caplog):
    header = makeHeader(CTYPE1="RA", CTYPE2="DEC")
    sky = skyOf(readWcs(header, None, (0, 0)))
    np.testing.assert_allclose(sky, WCS(header).all_pix2world(POSITIONS, 0), rtol=0, atol=1e-10)
    assert "CTYPE names no projection; the coordinates are linear" in caplog.text


def test_anOldEquinoxIsOne(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros(SHAPE, np.float32), header=makeHeader(EQUINOX="B1950")).writeto(path)
    assert asWcs(readPlanes(path, gain=1.0).wcs).wcs.equinox == 1950.0


def test_aWcsInMemoryIsWrittenAsItIs(caplog):
    """SIP counts in a WCS that a user has made, whatever its CTYPE; what is written says so."""
    wcs = WCS(TRUE)
    a = np.zeros((3, 3))
    a[2, 0] = 1e-5
    wcs.sip = Sip(a, np.zeros((3, 3)), None, None, wcs.wcs.crpix)
    cards, _ = wcsHeader(wcs, (0, 0))
    assert cards["CTYPE1"] == "RA---TAN-SIP"
    assert pixelsApart(skyOf(readWcs(cards, None, (0, 0))), wcs.all_pix2world(POSITIONS, 0)) < 1e-6
    # Of a CCDData the header has made it, and there CTYPE decides.
    found = fitsWcs(wcs, SHAPE)
    assert pixelsApart(skyOf(found), WCS(TRUE).all_pix2world(POSITIONS, 0)) < 1e-6
    assert wcs.sip is not None
    assert "SIP coefficients are left out, for CTYPE says RA---TAN" in caplog.text


def test_latitudeFirstInMemory():
    header = HEADERS["DEC first"][0]
    wcs = WCS(header)
    expected = WCS(TRUE).all_pix2world(POSITIONS, 0)
    ra, dec = pixelsToSky(wcs, *POSITIONS.T)
    assert pixelsApart(np.column_stack([ra, dec]), expected) < 1e-6
    np.testing.assert_allclose(np.transpose(skyToPixels(wcs, (ra, dec))), POSITIONS, atol=1e-6)
    assert pixelsApart(skyOf(fitsWcs(wcs, SHAPE)), expected) < 1e-6
    assert fitsWcs(WCS(TRUE), SHAPE).wcs.lng == 0


def test_whatIsNotCelestialIsNone():
    assert celestialCards(fits.Header({"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"})) is None
    assert celestialCards(fits.Header({"CTYPE1": "RA---TAN"})) is None
    assert celestialCards(fits.Header()) is None
