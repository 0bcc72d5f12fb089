"""What pages, API and exports show: read from the tables, computed by the rules, changing nothing."""
