"""Who issues which first two digits, since the merger of 2025-07-01; plates of the older provinces stay valid."""

from typing import Final

CENTRAL: Final = "80"
"""Central organs and the traffic police department: belongs to no province."""

_CODES_BY_PROVINCE: Final = {
    "Cao Bằng": "11",
    "Lạng Sơn": "12",
    "Quảng Ninh": "14",
    "Lai Châu": "25",
    "Sơn La": "26",
    "Điện Biên": "27",
    "Thanh Hóa": "36",
    "Nghệ An": "37",
    "Hà Tĩnh": "38",
    "Huế": "75",
    "Bắc Ninh": "98 99",
    "Tuyên Quang": "22 23",
    "Lào Cai": "21 24",
    "Thái Nguyên": "20 97",
    "Hưng Yên": "17 89",
    "Quảng Trị": "73 74",
    "Đà Nẵng": "43 92",
    "Quảng Ngãi": "76 82",
    "Gia Lai": "77 81",
    "Đắk Lắk": "47 78",
    "Khánh Hòa": "79 85",
    "Tây Ninh": "62 70",
    "Đồng Tháp": "63 66",
    "Cà Mau": "69 94",
    "An Giang": "67 68",
    "Hải Phòng": "15 16 34",
    "Ninh Bình": "18 35 90",
    "Cần Thơ": "65 83 95",
    "Phú Thọ": "19 28 88",
    "Lâm Đồng": "48 49 86",
    "Đồng Nai": "39 60 93",
    "Vĩnh Long": "64 71 84",
    "Hà Nội": "29 30 31 32 33 40",
    "Thành phố Hồ Chí Minh": "41 50 51 52 53 54 55 56 57 58 59 61 72",
}

PROVINCE_BY_CODE: Final = {
    code: province for province, codes in _CODES_BY_PROVINCE.items() for code in codes.split()
} | {CENTRAL: "Trung ương"}
"""Two digits to the province's name in Vietnamese; 80 is `Trung ương` (central)."""

CODES: Final = tuple(sorted(PROVINCE_BY_CODE))
"""Every first pair of digits that has been issued."""
