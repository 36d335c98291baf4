"""The part of the Airbyte protocol that every connector of this repository speaks."""
