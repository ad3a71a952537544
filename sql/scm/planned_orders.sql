--! description = "What to make and buy, when and for what: material requirements planning over all levels, open proposals kept where they still fit"
--! key = ["proposal_id"]
--! clock = "day"
--! checks = ["quantity > 0 or action = 'error'", { expression = "action <> 'error'", severity = "warn" }]
select * from mrp('scm.demand', 'scm.supply', 'scm.items', 'scm.bom', 'scm.open_proposals')
