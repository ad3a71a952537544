--! description = "Requirements, receipts and projected stock of each item, site and day"
--! key = ["item_id", "site_id", "day"]
--! clock = "day"
select * from net_requirements('scm.demand', 'scm.supply', 'scm.items', 'scm.bom', 'scm.open_proposals')
