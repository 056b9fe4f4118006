// HCHead is HCPre with four weights and the norm of the output: hc_mix and hc_pre, over the wanted rows.
