SELECT count(a.id), count(a.id) FILTER (WHERE NOT a.is_stub), count(n.theme_l1_id)
  FROM news n LEFT JOIN agencies a ON a.id = n.agency_id AND a.key = n.agency_key
