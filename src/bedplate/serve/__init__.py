"""The HTTP server, its OpenAI-compatible routes and the page to chat on."""
