"""From records to tables, figures and pages. The only floor that knows matplotlib."""
