"""What people and scripts see of the proxy: who may ask, JSON and events, pages."""
