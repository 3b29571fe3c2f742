"""Statistics of result rows: choice of the ticket, intervals, matching densities, costs."""
