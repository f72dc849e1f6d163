"""Words and rows of keys from which the passwords that everybody tries are made.

Lists of passwords that leaked have millions of lines, and most of the long ones are made from few parts: a
common word, a row of the keyboard, a year, the same once more. The rules of `password_rules.py` take a
password apart into these, so a small list refuses many more than it has lines.
"""

from __future__ import annotations

from typing import Final

ROWS: Final = (
    "01234567890123456789",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "qsdfghjklm",
    "zxcvbnm",
    "yxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "qazwsxedcrfvtgbyhnujm",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "zaq12wsxcde34rfv",
    "!@#$%^&*()",
    '!"§$%&/()=',
)
"""Sequences; each is also meant backwards."""

WHOLE: Final = frozenset(
    (
        "correcthorsebatterystaple",
        "correcthorsebattery",
        "horsebatterystaple",
        "batterystaple",
        "thequickbrownfox",
        "thequickbrownfoxjumpsoverthelazydog",
        "loremipsumdolor",
        "loremipsumdolorsitamet",
        "tobeornottobe",
        "maytheforcebewithyou",
        "hellomynameis",
        "youwillneverguess",
        "thisismypassword",
        "mypasswordispassword",
        "donttouchmystuff",
    )
)
"""Long ones that are known as a whole, without spaces and signs."""

_TEXT: Final = """
    aaron abc abcd abcdef access account adidas admin administrator adobe afrika alex alexander
    alexis amanda amateur america amor andrea andrew android angel angela angels animal anthony
    apple april arsenal asdf ashley asshole august austin avatar azerty baby badboy bailey banana
    barcelona barney baseball basketball batman beach bear beautiful benjamin berlin bigdog bird
    bitch black blink blue bond bonjour boomer boston brandon brandy buster butter butterfly
    california calvin camaro canada captain carlos carmen casper change changeme charles charlie
    cheese chelsea chester chicago chicken chocolate chris christian christine church classic coffee
    compaq computer connect contrasena contraseña cookie cool cooper corvette cowboy cowboys crystal
    customer dakota dallas daniel dashboard david de december default demo dennis destiny diamond
    dog dolphin donald doudou download downloads dragon eagle eagles easy edward einstein elephant
    elizabeth eminem england enter estrella eternal extreme facebook falcon family fender ferrari
    ficken fire first fish flower fluffy football ford forever france freddy free freedom friend
    friends fruehling fuck fucker fuckyou gandalf garfield gateway geheim gemini george germany
    gfhjkm ginger girl girls god gold golden golf golfer google grace gray green guest guitar hallo
    hammer hannah happy hardcore harley harry heather hello hellothere help herbst hockey hola
    holiday home honda hotdog house hunter hunting i iceman iloveu iloveyou internet is ist iwantu
    jackie jackson jaguar jaguars james january jasmine jason jasper jennifer jesus john johnny
    johnson jonathan jordan joseph joshua juice july june junior justin kennwort killer king kitten
    kitty knight ladies lakers lauren letme letmein liberty liebe life linkedin little liverpool
    login london love lovely loveme lover loveyou lucky maggie magic manager manchester marina
    marine mark marlboro marseille martin master matrix matthew maverick maxwell me mein mercedes
    merlin mexico michael michelle mickey microsoft miller mine minecraft money monica monkey
    monster morgan mot motdepasse mother mountain music mustang my naruto nascar natasha newyork
    nicholas nicole nintendo nirvana nothing november october office oliver orange packers panther
    panties pass passe passport passw passwd password passwort patrick peace peaches peanut pepper
    phantom phoenix player please pokemon police porsche power prince princess private purple pussy
    qazwsx qqww qwer qwert qwerty qwertz rabbit rachel raiders rainbow ranger rangers rebecca
    redskins redsox richard robert rock rocket root rosebud royal russia samantha samsung sandra
    saturn schatz scooby scooter scorpio scotland secret secure security seller senha september
    server sexy shadow shannon shop shopping sierra silver simple skippy slayer smokey snoopy soccer
    soleil sommer sophie spain spanky sparky spider spiderman spring staff star stars startrek
    starwars steelers steven store sunday sunset sunshine super superman superuser support supreme
    sweet system taylor temp tennis test teste tester testing the this thomas thunder thx tiffany
    tiger tigers time tinkerbell todayis trustno trustnoone turtle user username vanessa victor
    victoria video viking welcome whatever white wifi william willkommen willow winner winston
    winter wizard world xbox xxxx yamaha yankees yellow you young zaq zxcv zxcvbn zxcvbnm
"""
WORDS: Final = frozenset(_TEXT.split())
"""Single words, in lower case."""
