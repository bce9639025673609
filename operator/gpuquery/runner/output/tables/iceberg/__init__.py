"""Results that are committed to an Iceberg table: the catalog's own commit decides."""
