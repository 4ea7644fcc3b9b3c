"""The number that people see (办件编号), in the 34-character form of 渝快办: `^\\d{10}[A-Z]{4}\\d{20}$`.

6 digits of the division, 4 of the department, 2 letters of the item's type, 2 of the channel, the day in Asia/Shanghai
and 12 digits: 2 of the intake database and a counter that begins anew each day. The tables of digits and letters are
ours: no official list was found. Nothing ever reads a number's parts again.
"""

from google.type.date_pb2 import Date

from ronghe.case.v1 import case_pb2
from servers.kernel.stream import Scope

DEPARTMENTS = {
    "URBAN_MGMT": "0101",
    "TRAFFIC_POLICE": "0102",
    "PUBLIC_SECURITY": "0103",
    "HOUSING": "0104",
    "PLANNING": "0105",
    "MARKET_REG": "0106",
    "FIRE": "0107",
    "ECOLOGY": "0108",
    "EMERGENCY": "0109",
    "HEALTH": "0110",
    "EDUCATION": "0111",
    "TRANSPORT": "0112",
    "CULTURE": "0113",
    "ECON_INFO": "0114",
    "WATER": "0115",
    "NDRC": "0116",
    "CIVIL_AFFAIRS": "0117",
    "HRSS": "0118",
    "MEDICAL_INS": "0119",
    "AGRI": "0120",
    "CIVIL_DEFENCE": "0121",
    "METEO": "0122",
    "TOWN_GOV": "0123",
}
OTHER_DEPARTMENT = "0199"

ITEM_TYPES = {  # GB/T 39046-2020 table A.1
    "01": "XK",  # 许可
    "02": "CF",  # 处罚
    "03": "QZ",  # 强制
    "04": "ZS",  # 征收
    "05": "JF",  # 给付
    "06": "JC",  # 检查
    "07": "QR",  # 确认
    "08": "JL",  # 奖励
    "09": "CJ",  # 裁决
    "20": "FW",  # 公共服务
}
OTHER_ITEM_TYPE = "QT"

CHANNELS = {
    case_pb2.CHANNEL_PC: "DN",  # 电脑端
    case_pb2.CHANNEL_APP: "YD",  # 移动端
    case_pb2.CHANNEL_KIOSK: "ZZ",  # 自助终端
    case_pb2.CHANNEL_COUNTER: "CK",  # 窗口
    case_pb2.CHANNEL_EXPRESS: "KD",  # 快递
    case_pb2.CHANNEL_OTHER: "QT",  # 其他
}


def case_number(application: case_pb2.Application, day: Date, deployment: str, scope: Scope) -> str:
    """The next number of the day at this intake deployment, for example "intake-01"; unique in its journal's lock."""
    item = application.item
    date = f"{day.year:04d}{day.month:02d}{day.day:02d}"
    return (
        application.division[:6]
        + DEPARTMENTS.get(item.lead_department, OTHER_DEPARTMENT)
        + ITEM_TYPES.get(item.item_type_code, OTHER_ITEM_TYPE)
        + CHANNELS[application.channel]
        + date
        + f"{_database(deployment):02d}{scope.next_number(f'case_no/{date}'):010d}"
    )


def _database(deployment: str) -> int:
    return int(deployment.rpartition("-")[2])
