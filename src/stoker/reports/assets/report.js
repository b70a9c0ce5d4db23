const tip = document.getElementById('tip');
function show(mark, x, y) { tip.textContent = mark.dataset.tip; tip.style.display = 'block';
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.min(x + 14, innerWidth - box.width - 8) + 'px';
  tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18) + 'px'; }
for (const mark of document.querySelectorAll('[data-tip]')) {
  const native = mark.querySelector('title'); if (native) native.remove();
  mark.addEventListener('mousemove', event => show(mark, event.clientX, event.clientY));
  mark.addEventListener('focus', () => { const box = mark.getBoundingClientRect(); show(mark, box.right, box.bottom); });
  for (const leave of ['mouseleave', 'blur']) mark.addEventListener(leave, () => { tip.style.display = 'none'; });
}
