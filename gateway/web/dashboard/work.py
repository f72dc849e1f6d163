"""The pages of daily work: products, tokens, orders, customers, usage, and the first page."""

from __future__ import annotations

from typing import Final

from gateway.web.dashboard.as_customer import AS_CUSTOMER_SCREENS
from gateway.web.dashboard.customer_changes import CUSTOMER_CHANGES
from gateway.web.dashboard.customers import CUSTOMER_SCREENS
from gateway.web.dashboard.frame import Screen
from gateway.web.dashboard.home import HOME_SCREENS
from gateway.web.dashboard.live import LIVE_SCREENS
from gateway.web.dashboard.minting import MINTING_SCREENS
from gateway.web.dashboard.orders import ORDER_SCREENS
from gateway.web.dashboard.products import PRODUCT_SCREENS
from gateway.web.dashboard.publishing import PUBLISHING_SCREENS
from gateway.web.dashboard.reports import REPORT_SCREENS
from gateway.web.dashboard.tokens import TOKEN_SCREENS
from gateway.web.dashboard.usage import USAGE_SCREENS

WORK_SCREENS: Final[tuple[Screen, ...]] = (
    *HOME_SCREENS,
    *PRODUCT_SCREENS,
    *MINTING_SCREENS,
    *PUBLISHING_SCREENS,
    *TOKEN_SCREENS,
    *ORDER_SCREENS,
    *CUSTOMER_SCREENS,
    *CUSTOMER_CHANGES,
    *AS_CUSTOMER_SCREENS,
    *USAGE_SCREENS,
    *LIVE_SCREENS,
    *REPORT_SCREENS,
)
