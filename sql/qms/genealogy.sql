--! description = "From each suspect lot: what it went into, and what went into it"
--! key = ["seed", "direction", "lot_id"]
select * from trace('qms.lot_links', 'qms.suspect_lots')
