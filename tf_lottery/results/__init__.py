"""Results of experiments: results, tickets, statistics, tables, figures, reports and comparisons."""
