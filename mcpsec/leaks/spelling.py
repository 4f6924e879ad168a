"""Telling letters that nobody pronounces from words, by which three letters follow each other."""

from __future__ import annotations

from binascii import a2b_base64
from zlib import decompress

from mcpsec.leaks.expressions import expression

__all__ = ["is_unspoken"]

_ODDS = (-5.5, -3.0, -1.2, 0.0, 1.0, 2.0, 3.2, 4.8)
"""Log2 of the odds of three letters against chance, in eight steps."""
_TRIPLES = decompress(
    a2b_base64(
        b"eNqlXIt646wORBfw+7/x0YwEBsdp++/p13bTxMYgdBmNxLqKtiYiTUw9Xphawxutu8mID0aTq1mX+FGPi7V5G/FWG0Mvj7/E3C7cFNebxbvq"
        b"w1vvNjR+K26N+/gI/Gqu8aqpavyOb487vRtGjncNw8SomELcH8/p1lu87zG57pI3dz4NQ6nFd8ythosfiwHxpw2/YtARU5D4EIvj0ozTwN28"
        b"M75ihS2e5T1moHi4YT6cgbtf5nqpXzGPWMYYw7BmLPOKh40Y2LUP0ZSOyGXXFZIJ2cQ7g2u4umpMnhOEtPENudfzYwYxox7fg9N0yLs7r6wL"
        b"WqvbMILzz6uP67LYCYklhrRD8hdmMLS3Hu9if0L6hqVcAw/HOuL62KYr5Kl2Yc1YSMirYZ9iBYJ/cXGMHs+L2ccKNOYVUsKFDrGpciGdKwhZ"
        b"4hPuGXaRU5SUtXO9mu9Qq0KpxHkPNgmfd+hGfBR7Kp735OfYoVQU6JPEVsQaY8EawodAY1fjdUvNq+dYm0JqGKLlpDiPnAFmgnnkpfnXFHDs"
        b"VzwjvkN3QlCxLQ7FjQlIbUX+q7SXuSkcNwfGNcKptLnq2rj5tPs5IYUQxgiTCbF7L6nF7b72W0oCcwytfzedwGjQOegQd2XwRgxHbeQVa6Vp"
        b"2GkD2LOaj21jOjcldlRCcXxYyCAMKBRpXZUygL9ocmroPq8ceeQPfAhniot6TYJ2jVGhFZhLT4nVtpVbyj2lw4C9msZs4FMsxBfeZWBvuD8p"
        b"7/b8en83Zyu1jVKbq7UAS8XP2+EPw7gfQv9cMr2DwALCMMNgYI2aUpftai3plY6G5ac9h8Hx/b7mNvWUv5cihXIOKGiHc+JzLqPelF/RlnLL"
        b"18dqSw77hC6FF6Nth97Hbodqdki6hVpi48O3S2hp741/yaaJ2uQhhB4zCe+ocPhU8Zgq9tPgYaV0oTTC+DesNyLO9IqtzL7sKpeeK9fbiLAl"
        b"8Rjod6w+pC3hmwdnp0vDJWVS/kFf98zKflQ4PzoUeGJ4qHyf0tSyZ3g7ehz4E+5cu7BtcBUehszohSvyiULxhR70+7FyaJHKaS7SHh7/m7ZR"
        b"j3wOp2kc81aVfb27dWrsCoIr1Cd0J8J4v7CkDg8+9UMJCOovnSIv1+PlyHOrBDsNezZe0LW0LMwydNMQmq9+xasIiBJme68y/bVNfa13+3rQ"
        b"cqK1S/ce7r9D/a0Phnezy0PWV7yB8GRTDnLL1e5dmFLbfCs1kXvaaXpLnLHmKZs+Lbg+45iJJKQdVgHvGFgIuh/ePfxBWFZ3uHsinKlOMkUn"
        b"X91LRQz60JRQ+ojcJYyBp1DPVRJjOb3m/LGlayvUeWgsUBB1NDxqcy9BeZrgJqvTVvLT9sXnf8xepkTihRXq2ZR4ObhNomFJgX4MUxsBh0JH"
        b"B6Iw9iU004WIA0JVzDo1JgALbHCEMwxlgE1aIDDMGdEsFB34JRxGz3uI/hRmSzWLfRkNMuh0ugY1HfGgQReAKF3hmTgxYg99drhhqAo+j0n2"
        b"W0eFEVyXZEI1IeIQQWy/YrTEV7hTfPnjAiqlcRkTHLiMGuKWmCsUKQzKAscpoHYHRAk1C98DWApPzugaKBUzdd4dWDTMAgYZOD2kYR4+E/Hc"
        b"iFec2o0ol+IqRAyfiEsATTsEMpZF7BvINadXv8LTXaP7BdQLr0ffHGYfUBN4uGE74bpjJCDi0FiDuV5ArtjQiDDY7Zh3XAcDcbo1gBG4OzdG"
        b"AYbiq+JJaAkBotRrKn9g1NIQLDF9pQAVh02macbtOlIVASmgXoSTELJmupDI0CceK/SoiRqMWEsQFI3bGIK1giFfnPYKSq2g14Hp5fBsK9ZD"
        b"doxKjXCxXVhaIZqItIykVjNV2e/XH4PH9oxWeRughAAMMOUDSsfOP64//cEZzNYV00/59FyJ+ZptiGH53ts7bd5YV+DHK89Aju0NiBWQRXyi"
        b"nXM0vWckHw5KlgVvfjRx7LonfWKbsNukPGxaZH6SqEwSWqQPbZQVl+g+fXv76tHllNsfwv00Nf+2GS9fof5wlPFPSG3ADQAzEUPLHm30mNkM"
        b"7own21RVZfPSO6aFc1OqaCC+gHuwYBiVLPS5EPjy/UZ0xaxswf+8KmZLe1OGXd4wUmtgYfRYCHh4TmTIK8ObavQiP1nKsF/jbc6g5LpSGrvl"
        b"fBumVJ61fqywilEicM6Mw3CVDhmkX7htWpaOvkT6h60mHq9MgFY+Z6gVUTNzocytoH4OYxO13VqPdLkz56QI4w1Lva6s4012dnikv31pYvRp"
        b"O/q5upfcDKEhpBYBEUi0N4SPACQI/3ue8vQ12rZlyj7+TbDoNodQfaYHsduBKRShKgKR2OGGH7/1b2Z2fHnAaqQ9sTcdoQ0ZFEPIw4/KU25r"
        b"tXsGUFlE8wWNlCSaUeusEC2zDd1iCEezlTNN1gNh0ZSLDn/Qgf17MmulLVqshjQ5MpPXzQM/kD4etyTnoCu1XWmvFMSV8hTkAfGpE3q5Z+Li"
        b"dLyMD8b0081FdknpK7+gvzrRM9atZCMjBAX38MafIyBvadAejUwGNF0goQROdH1AFvEdOgtsGdYWLy4iFOJRo6eIDMAzzsaikXLBZYIxBLKz"
        b"MhwwWyQzAr0CVAVEAkxjSgwAOri7nHQXxjLMKpzgIAYiLWkAtcWpthm9KPHJbkhFWi1y5dbOkfuS2yVS+FMy88BuhyAs0W2svJjTeGDA9UB3"
        b"gETQVCQUQKGxYCVVxwjeL7iq4i0tgOFgYuigOUOwgRMxZtF+0BoPGYTogNZpWWBGSEbgIWFZkffZM1teKym0HrK9BNjbDJwRGAzyXo1ox0Dh"
        b"wl5ho+BqEMUGHqxYEyA3OOGkGi9NToU6SSnNTCi1/1rMm6+sLbHBbd+Hr0o5lo0XH94m/7MlD5smx4IVz+lSebmlzSHFtByiIcmJgcOwrGc0"
        b"l494KE9Y9GLrKmsVmwVBcol+Qmudcdu/OUr5gmN+YTgmfBIt2ku9agWP4Z7YaLIrN/YVecO95+KPXZHNU5ShyIcnkUzY3ROVC1MaST/WioZ5"
        b"jPcNB7aN33rJnaXS4y5k2tcU5CM6SdsphXL2TJ5c7mfpqyuXIwOtbf7vX/Ljn4lHHUblYHCTDxmIBeZalrInLkc03DKbmxWp0CIHeZYgE+gQ"
        b"CWCHR2Xmipxdt5RDHzPc7UQK+k6cKDffacVvSXKQStxH7ikEDT9CfK1twbTn/tCTtbTaI6ZNX5CFL9v5Nzn5+a0M1FYuOPOsiTaTDMLUwNo6"
        b"SnmmuviYKWj/E91IJV+o2Dd0BI/pLLiBBMuCj+qNXSazTV9V75kXWw+5OfLa5DaSs9v0dLMMXyuVP6MyOYbZgdB3vACYKEpqVPsVHnREmEIc"
        b"sFlvlFlkWvlQFU9t/bOiL9AWwKaz3IjwwleSeNSRIsT+DOBx8pYAj9MnJDTRzQtNVs6mDq8MSw9/sOsK4mwAXkMpZ8R6Ik5fKLfpNUfSrba0"
        b"akFZJaVRrsod4g8idUb0hnAPaATW4ZraUbOwzVvOeqsuwK51VQB+Y10RjiHwKGp64RJaBw6A+vqCk/KFWDm9u9jpIieOjy/Wj8WJfiULTJkV"
        b"gcMz8B6sB5snYkZaAq4KGV1oA2qbYNpQp/CyNGureHTmCyI/8qPyRNFE9Fl2b+UZJmc7/f/JugWWcUJ4sMoXiDVilw6OUrVqLM5iWmLPYqnv"
        b"tH05gvIVmkBQJkSetVAjgx/ZRkeJCfQeKEw1WSWHJidTfL8704i10nLjG91VTwoIaECGseGBe2Ekg9QtSMcnw6Rb+WNFd7mnXRly8TVFPJev"
        b"7MUYervzaS99zOhtS3emVRjIY6EUQFUKc6ZObl9Swp3pOsjWQLKtbTmLbCpx81p3pNoDBOKgsy3CatNnbjqHWFUY1ZnfgrPNMYcln9xltRbI"
        b"AyZ95LQnUvpJR6WcVkY2RFYV/fDDh1dVSAm5kYJqBvka+U+fPl5liz/L70B62VOCAgzp657WBtrqQllVwUjGNoRHQ+0vtBsOG2k261kByUJH"
        b"w3SRUrWs4Q3Sh2PFn0Y66UJXRKQD9M8dHPRkdHzfvxWByJ6DewwVjbQFEQGJnXGG0h++10rDgOWR8RKWk6HVpXW2InZf4ssqQl829MAHlYVB"
        b"0/vcjViWocFDjYR3J9VOR4paybRIKa1x1uzkGfJlI2Kt+gluTz51BGRbRADUOUEpouh3DXK6rCGH+C62cgxkrsL9kew5Ia+aIEzZT2EpZ9ba"
        b"lgxkMXmy1ZnaqaPSXqlThLSq007DsUk9FOrabpgDEh1m7UOJ4312Z7TqSQJdAaExpWUlpUNjQndIBABfe1XtFUUFzRoyMBF4Ae7+zUtLAkjU"
        b"JWZpmwHIi3lsWW4g48NyCLtjGsvoVp1LVvjT0j3NMnmuZyX9DAOoSBTtIoUvZVYrS5BgF5ifZ98TXjG3BemaKj4QBWCNkg4OtBE/ZdQMeVyI"
        b"XOkNIhgBcAjrTGGXoSAXTMuZliboZS3PwaFkcsrmAtAbHIZdBiAOUm4f2VJVfRmQ0OE07OpEDldsHhxGrAGjZbUPkDdABrPHwR9UoLDb3EN0"
        b"nCHCg2tirT8mejVgPqp19iOhBWoQ9GcFIPGQK8tHuMLxMWtGKw/Rg1Odntfa3ZC0WJmyuaQ9dFUOVtww1CFZD+ugJuDfUO6zPQfcHdVWO+G6"
        b"Dw7fVW5wUWg270TZzVkAjG1mrO99hpoHRyyyaNedH0hHN3nyya8zAwW6l8S02PieEASGhLwkHblKe+EcF6YQ+pkn+L+qXp91wEGBdU0PWv07"
        b"0haCvnsAtGo6R7huNDnsKZi0iFYoURq73YzUHJkZtOgh1r/w5ifLwBplzOGioK7kaavxgZEJ4YMcaDYczn4O2MHI5hHQXMQDyGRFq7ksmwwB"
        b"lAsfylGqOOSmC0GpHs5TvtfrNeEhkzfsi7eDIX3J6+VdBH/mzn+gQP5INvwzS/Hrpf/8oOdAemCwBzMkv69V3hKeD6rmd2ZN/vSxvDAj8g0p"
        b"zh4AkbTIE9XID3W5/38//7g0ZX5Ns45YgVYABJDe4I3SK/vEozp5l0IoaDw1QhbUUiWrxlgtexrjA1jxKI98dRDbA4k8YlJ46wvAEaxX9TUa"
        b"v31m9y27WkZ1vyL+IiYmn2izT3PrHqtIi6werY9IR5CXRXaPlh4fZ7fhzrY66w1KPEOHKz0bhuhp2O9GLOE6c/TOjt8u5VuJDLz47cEihEhf"
        b"nVNe2tAJyeE6O5DowBuDYUvZdUPUovSmLp8uf6mGbfV6ahXlzOjL/fLsIGSeHvOwcv7ELmDupV/YHczfgNtQW2b3S0gApRpHxT6wLEVgLqtv"
        b"QVcyuTLFdIY1NZMXklQP9fNszmqpFQTtuqp8Bz9y34+OVuQXbJCJaSJUgmQ22cqpmvhtjpF6IyP7XQaBWTKWWu1eJmflHv1CKCyxB5A119Af"
        b"NLjrYh6rBdNniYzRUjKFWUUNXR14MnvDzdgHqZZZNcgcCBkU5LiykgJSIVXGjpyp3ZUUfjwY2Rh7NfnPwRZcijK1jnW2vfOKVVLmfFZlj77y"
        b"rFnjn+hKCEvZVkQzSpjLfv+M1ihudILz3uSDh/AZ+Hrxo5b9yzPZXwwvUOHFqg2rScbmejY2XJE5oA54gVKJV2HSij79sK8LNSmDhgMKo6WN"
        b"UE6yl3DqgujGrnTi0zWfc77yLezKxJo4vYB0Rw4Wp7owV0spdPQaCY8iCw7d8QbuCeSI2EJqJz+a1V5lgzrTQF1pUK1p45XvPnxm2QOkerhQ"
        b"PAdYjPXRmfcm44dFiOoeW1cvsc+QCK935RkLDAITIC+NRuoL9T1wOUhdOisTaC1z/crh2f2zurkrr5dZJU1vWQ3yqNNWZ2UmpHQ2Iu3GyseJ"
        b"gcmihvkrmlkN3bTscXYn+POEadXvAaVhav1jcLzgLaGNhJM40WHsYYNfrHxVPbkd4NvqbmvopaRVh0icxz3o6bO11zULDLG0yBfy8MJkgTfp"
        b"bP1i6Nua/Nvy/W9khC7skW3cbOtj0JnSvnsnq2drMa+aR0u4TBIqNpKnRO0JRVF2QKixOz2zYbCDwPXJwfE7u47Yydk1uyoTqM/u6Cx9aKv2"
        b"T5yXyS5a8qkMqguez6Yfz56+7rPLWovmloObOHtdQD8kDz9YbQ3HOk9ELH6n3SdTpoPyAvBpkDbjNlgi/hXWhEYgoePjsOl3uUcIm8jNkwtA"
        b"xEAFATPvKKUP8hF3k5velHuem8quZ/jF7KEdLVsZXs4MbL15OLAFboU0m1NQzo6mzm5bQ6wnWIG9srwJkZCgSM4bR2k6j1nJEozOk0eTtGQE"
        b"9ROPr8gsX/tK8sTYZ1agG59yUlbzfI3tW5pOkSftFK1ilxLesDN4b1laCF+2rsG70Uu2glZ7qZnN2Ipx2fE3cFAt/DXpXLXvCYZ8Fs6f1vmB"
        b"4TtAHisoyoMYrJfcbX9/huyy1T3bBsPkk/9/nIja6+LPJVmd6PBOLESeT5rKS7b0ayKi0kQffLocvfp3i/vesyAvGdo2hsyDcyrfeuVWU9e/"
        b"pUby6G/Q80jKS16fvI2i1YaNP4PHIxGRTuQqT61r+gnnzx7nXcccaVhGT8uky6QdkEs+9Lq9Vh9m5bWvkxq+6Qn8hqXP5XEAdAN9ONvfdPSQ"
        b"lb/0penL9fdn7H+rHFCOCuwdylDVybZuecu3/7D9VQYqNHgqjcwKgMyGZnkhJd79X9FoKn9vQv4PxiX6IE1F5fcRF/aTKoaJ3D3d0t66nxI5"
        b"2CwSnpu1zpA9OpV8cevMv/JPkQeBpe0n5/nsrt32dN6jtrr02Asg3f9q3O/y1nbW+D+s8g/jb81Sur02kb2XumWsz7z+D0STfI8L0/n7WT/V"
        b"hFWFm5B+afLCR72/zZPA70b475yk/8CC/gC+WULPpiJD32KCKuYtsvfi2M08zOEsW5Zta0Qr/uTGibo6LZK64YmWPJRkehO0sjD5k6iVFaVn"
        b"peqTT34036lNbDK+spfyxkrLx7uzR8j2o2pVtmqtVmB5Pl2X3+13+Mo6oe8NfcWUwdnzhLkU7z9q5i1jTf9l46rDuiq4csZ6J5Hv5W5YCqpT"
        b"IWkBOpG3pp3saYBOjkDuPoijXv84n7rU4U8N+fKFD7a2P+vAUVDNPNaP+h/pMRvZGr3xVQdd8wPT/Nn6tp3hRTJJq81Ull35csb6r8Dr1U28"
        b"Yj6tE0OoO5JXuxv6/gj0np09+pEv7NzVJ9tix1bqhzHJ7ImUdUxV3gn4n2doP3VEvbXMfyAWefyR/x2IquyJ0F1vlBd/8N9qJefp5PvAxrLT"
        b"2yttQtP/AST0T0U="
    )
)
"""The step of each three letters, 26 x 26 x 26, in words of programs, documentation and translations into fifty languages."""  # noqa: E501
_LETTERS = expression(r"[a-z]+")
_FEWEST = 5
_BELOW = {5: -3.0, 6: -2.7, 7: -1.9, 8: -1.2, 9: -0.9, 10: -0.9}
_BELOW_LONGER = -0.5
"""Mean odds below which one word of a hundred lies, and of letters that were drawn three quarters (five letters) to
nineteen of twenty (nine): the fewer the letters, the less they tell."""


def is_unspoken(text: str) -> bool:
    """True for letters that follow each other as in no word; signs and digits among them part them."""
    odds, letters, counted = 0.0, 0, 0
    for run in _LETTERS.findall(text.lower()):
        letters += len(run)
        places = run.encode().translate(_PLACES)
        for first, second, third in zip(places, places[1:], places[2:], strict=False):
            odds += _ODDS[_TRIPLES[first * 676 + second * 26 + third]]
            counted += 1
    return letters >= _FEWEST and counted > 0 and odds / counted < _BELOW.get(letters, _BELOW_LONGER)


_PLACES = bytes(max(0, byte - 97) for byte in range(256))
"""``a`` is 0."""
