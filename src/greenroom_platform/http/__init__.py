"""The HTTP service: settings, application, and one file per resource under `routes/`."""
