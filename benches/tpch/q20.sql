--! description = "Potential part promotion"
select s_name, s_address
from erp.supplier, erp.nation
where s_suppkey in (
    select ps_suppkey
    from erp.partsupp
    where ps_partkey in (select p_partkey from erp.part where p_name like 'forest%')
      and ps_availqty > (
        select 0.5 * sum(l_quantity)
        from erp.lineitem
        where l_partkey = ps_partkey and l_suppkey = ps_suppkey and l_shipdate >= date '1994-01-01'
          and l_shipdate < date '1994-01-01' + interval '1' year
      )
  )
  and s_nationkey = n_nationkey and n_name = 'CANADA'
order by s_name
