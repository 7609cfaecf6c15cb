"""A Django project that uses all of `greenroom.integrations.django`."""
