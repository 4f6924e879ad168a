"""What stands behind the gateway: HTTP servers, stdio children, built-in tools, and the aggregate of several."""
