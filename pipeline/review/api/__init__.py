"""The console's HTTP API: routes, sessions and permissions. What it shows is protected already."""
