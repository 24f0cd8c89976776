"""Names the clients of a server by their addresses."""

import ipaddress
from collections.abc import Sequence


def client_name(address: Sequence[object] | None) -> str:
    """The network address of a client, of IPv6 the /64 network that one customer has."""
    if not address:
        return ""
    try:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
    except ValueError:
        return str(address[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))
