"""The room that runs tools: code in a sandbox, HTTP operations and MCP servers. It knows neither engine nor storage."""
